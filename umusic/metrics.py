"""What umusic counts and measures, for Prometheus. Knows nothing of what it counts.

The only importer of prometheus_client. What is counted elsewhere anyway (uploads that run, free
encoders) is not counted here once more but read when somebody looks: see `watch`.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

import prometheus_client
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)

from umusic import __version__

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4

# Buckets: the upper bounds of each.
_REQUEST_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)
#: From a jingle on a local network to a day's recording on a telephone.
_UPLOAD_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800)
#: 64 KiB to 16 GiB, which is the most that is taken unless set.
_UPLOAD_BYTES = tuple(4**power for power in range(8, 18))
_LAG_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ENCODE_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_OUTLINE_SECONDS = (0.01, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60, 300)
_WAIT_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one umusic, in a registry of its own.

    `problems` are the codes of all problems that may be told. The values of all other labels are
    a few words of umusic's own as well: never what a client has sent.
    """

    def __init__(self, problems: Iterable[str] = ()) -> None:
        # Without this each series has another one beside it, that tells when it was made.
        prometheus_client.disable_created_metrics()
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        Info("umusic", "Which umusic this is.", registry=self._registry).info(
            {"version": __version__}
        )
        self._make_requests()
        self._make_uploads()
        self._make_resumables()
        self._make_encoders()
        self._make_waveforms()
        # From the start on, so that the first one is a rise that `increase()` sees.
        for code in problems:
            self._problems.labels(code)
            self._uploads.labels("refused", code)
        for outcome in ("accepted", "repeated", "gone"):
            self._uploads.labels(outcome, "")

    def _make_requests(self) -> None:
        self._requests = Counter(
            "umusic_requests_total",
            "Requests that have ended.",
            ["handler", "method", "status"],
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            "umusic_request_seconds",
            "Time from a request's head to the end of the answer.",
            ["handler", "method"],
            buckets=_REQUEST_SECONDS,
            registry=self._registry,
        )
        self._problems = Counter(
            "umusic_problems_total",
            "Problems that were told to clients.",
            ["problem"],
            registry=self._registry,
        )
        self._received = Counter(
            "umusic_received_bytes_total",
            "Bytes of request bodies, those thrown away after a refusal included.",
            registry=self._registry,
        )
        self._downloads = Counter(
            "umusic_downloads_total",
            "Requests for an MP3, by what was decided.",
            ["decision"],
            registry=self._registry,
        )

    def _make_uploads(self) -> None:
        self._uploads = Counter(
            "umusic_uploads_total",
            "Uploads that have ended, by how; of refused ones the problem is the reason.",
            ["outcome", "reason"],
            registry=self._registry,
        )
        self._upload_bytes = Histogram(
            "umusic_upload_size_bytes",
            "Size of an accepted upload's WAV.",
            buckets=_UPLOAD_BYTES,
            registry=self._registry,
        )
        self._upload_seconds = Histogram(
            "umusic_upload_seconds",
            "Time from an accepted upload's head to its link.",
            buckets=_UPLOAD_SECONDS,
            registry=self._registry,
        )
        self._lag_seconds = Histogram(
            "umusic_upload_lag_seconds",
            "Time from an accepted upload's last byte to its link.",
            buckets=_LAG_SECONDS,
            registry=self._registry,
        )
        self._audio_seconds = Counter(
            "umusic_audio_seconds_total",
            "Playing time of the accepted uploads.",
            registry=self._registry,
        )
        self._mp3_bytes = Counter(
            "umusic_mp3_bytes_total",
            "Size of the MP3s made of accepted uploads.",
            registry=self._registry,
        )

    def _make_resumables(self) -> None:
        self._resumables = Counter(
            "umusic_resumable_uploads_total",
            "What has happened to resumable uploads.",
            ["event"],
            registry=self._registry,
        )
        for event in ("created", "resumed", "taken", "expired", "terminated"):
            self._resumables.labels(event)

    def _make_encoders(self) -> None:
        self._encode_seconds = Histogram(
            "umusic_segment_encode_seconds",
            "Time that ffmpeg takes for a segment, its start included.",
            buckets=_ENCODE_SECONDS,
            registry=self._registry,
        )
        self._segments_failed = Counter(
            "umusic_segments_failed_total",
            "Segments at which ffmpeg failed, or could not be started.",
            registry=self._registry,
        )
        self._wait_seconds = Histogram(
            "umusic_encoder_wait_seconds",
            "Time that a segment waits for a free encoder.",
            buckets=_WAIT_SECONDS,
            registry=self._registry,
        )

    def _make_waveforms(self) -> None:
        self._outline_seconds = Histogram(
            "umusic_waveform_seconds",
            "Time that the making of an outline takes, once it is its turn.",
            ["kind"],
            buckets=_OUTLINE_SECONDS,
            registry=self._registry,
        )
        self._outlines_failed = Counter(
            "umusic_waveforms_failed_total",
            "Outlines that could not be made.",
            ["kind"],
            registry=self._registry,
        )
        for kind in ("peaks", "picture"):
            self._outline_seconds.labels(kind)
            self._outlines_failed.labels(kind)

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Adds a gauge; `read` is called whenever somebody looks, and has to be quick."""
        Gauge(name, text, registry=self._registry).set_function(read)

    def exposition(self) -> bytes:
        """All metrics as they are now, in the format that `CONTENT_TYPE` names."""
        return prometheus_client.generate_latest(self._registry)

    # --- what happens -------------------------------------------------------------------------

    def body_came(self, size: int) -> None:
        """Counts bytes of a request's body."""
        self._received.inc(size)

    def request_ended(self, handler: str, method: str, status: str, seconds: float) -> None:
        """Counts a request; `status` is a class of them, as 2xx, or a word."""
        self._requests.labels(handler, method, status).inc()
        self._request_seconds.labels(handler, method).observe(seconds)

    def problem_told(self, code: str) -> None:
        """Counts a problem that a client was told."""
        self._problems.labels(code).inc()

    def download_decided(self, decision: str) -> None:
        """Counts a request for an MP3."""
        self._downloads.labels(decision).inc()

    def upload_ended(self, outcome: str, reason: str = "") -> None:
        """Counts an upload: accepted, repeated, gone, or refused and for which reason."""
        self._uploads.labels(outcome, reason).inc()

    def upload_kept(
        self, *, size: int, mp3_size: int, audio_seconds: float, seconds: float, lag: float
    ) -> None:
        """Measures an accepted upload; `seconds` it took in all, `lag` after its last byte."""
        self._upload_bytes.observe(size)
        self._mp3_bytes.inc(mp3_size)
        self._audio_seconds.inc(audio_seconds)
        self._upload_seconds.observe(seconds)
        self._lag_seconds.observe(lag)

    def resumable(self, event: str) -> None:
        """Counts what happens to a resumable upload; `event` is a word."""
        self._resumables.labels(event).inc()

    def slot_granted(self, waited: float) -> None:
        """Measures how many seconds a segment has waited for its encoder."""
        self._wait_seconds.observe(waited)

    @contextlib.contextmanager
    def encoding(self) -> Iterator[None]:
        """Measures the encoding of a segment; one that is cancelled does not count."""
        began = time.monotonic()
        try:
            yield
        except Exception:
            self._segments_failed.inc()
            raise
        self._encode_seconds.observe(time.monotonic() - began)

    @contextlib.contextmanager
    def outlining(self, kind: str) -> Iterator[None]:
        """Measures the making of an outline; one that is cancelled does not count."""
        began = time.monotonic()
        try:
            yield
        except Exception:
            self._outlines_failed.labels(kind).inc()
            raise
        self._outline_seconds.labels(kind).observe(time.monotonic() - began)
