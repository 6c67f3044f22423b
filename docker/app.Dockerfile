# The API and Flower. Build from the root of the checkout: docker build -f docker/app.Dockerfile -t stoker-app .
FROM python:3.12-slim AS build
RUN python -m venv /opt/stoker
ENV PATH=/opt/stoker/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml setup.cfg stoker.py README.md LICENSE ./
COPY app app
COPY client client
COPY schemas schemas
COPY tasks tasks
COPY workers workers
RUN pip install '.[server,postgresql]'

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home stoker \
    && install -d -o stoker -g stoker -m 700 /var/lib/stoker
COPY --from=build /opt/stoker /opt/stoker
ENV PATH=/opt/stoker/bin:$PATH PYTHONUNBUFFERED=1 STOKER_HOME=/var/lib/stoker STOKER_HOST=0.0.0.0
WORKDIR /var/lib/stoker
USER stoker
VOLUME /var/lib/stoker
EXPOSE 7777
CMD ["gunicorn", "-c", "python:tasks.gunicorn", "app:create_app()"]
