# An image with gcsmux-mount. docs/CONTAINERS.md explains the privileges that a mount needs.
#   docker build -t gcsmux .
#   docker run --device /dev/fuse --cap-add SYS_ADMIN --security-opt apparmor=unconfined \
#     gcsmux my-bucket /mnt/data
# tests/distribution/test_container.py runs each instruction of this file.

FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
      python3 python3-dev python3-venv pkg-config libfuse3-dev gcc libc6-dev
WORKDIR /src
COPY pyproject.toml constraints.txt MANIFEST.in README.md LICENSE CHANGELOG.md ./
COPY systemd systemd
COPY share share
COPY gcsmux_fs gcsmux_fs
RUN python3 -m venv /opt/gcsmux && \
    /opt/gcsmux/bin/pip install --no-compile --constraint constraints.txt . && \
    /opt/gcsmux/bin/python -m compileall -q -j 0 /opt/gcsmux/lib && \
    /opt/gcsmux/bin/pip uninstall -y pip setuptools

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3 fuse3 ca-certificates && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/gcsmux /opt/gcsmux
# With user_allow_other, a user other than root may mount with --allow-other. The mount point of the
# image lets every user mount there.
RUN echo user_allow_other >>/etc/fuse.conf && mkdir -p /mnt/data && chmod 777 /mnt/data
ENV PATH=/opt/gcsmux/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1
# gcsmux-mount is process 1: it handles SIGTERM by an unmount and leaves no zombies, so the image
# needs no init. The log goes to stderr.
ENTRYPOINT ["gcsmux-mount", "--foreground"]
CMD ["--help"]
# Docker reserves the exit code 2, which gcsmux returns if nothing is mounted.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD gcsmux stats --json >/dev/null || exit 1
