"""Measurements. Each program prints its figures; all traffic stays on loopback."""
