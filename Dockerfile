# Two stages: the first builds a virtual environment, the second contains only that.
# On Linux x86-64 PyPI's torch brings its own CUDA libraries, so a GPU needs only the host's driver and the NVIDIA
# container toolkit. compose.yaml runs it with a root file system that is read-only.

FROM python:3.11-slim AS build
WORKDIR /source
RUN python -m venv /opt/atelier
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY bot bot
COPY cogs cogs
RUN /opt/atelier/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 atelier && install --directory --owner atelier /data /keys
COPY --from=build /opt/atelier /opt/atelier
ENV PATH=/opt/atelier/bin:$PATH \
    ATELIER_DATA=/data \
    ATELIER_DATABASE_KEY_FILE=/keys/database.key \
    HF_HOME=/data/hub \
    MPLCONFIGDIR=/tmp/matplotlib \
    TRITON_CACHE_DIR=/tmp/triton \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
WORKDIR /home/atelier
VOLUME ["/data", "/keys"]
# Atelier uses a config.toml that is mounted into the working directory.
STOPSIGNAL SIGTERM
# The first start takes longest: torch is read from the disk.
HEALTHCHECK --interval=30s --timeout=20s --start-period=3m CMD ["atelier", "health"]
ENTRYPOINT ["atelier"]
CMD ["run"]
