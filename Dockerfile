# mmgan in a container, on a CPU or on NVIDIA's GPUs; docs/install.md says how it is used.
#
#     docker build --tag mmgan .
#     docker build --tag mmgan:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
# The index of torch's builds: for CPUs only, which are small, or for a version of CUDA, which they bring along.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Extras of mmgan, such as "audio,tensorboard".
ARG EXTRAS=all
RUN python -m venv /opt/mmgan
ENV PATH=/opt/mmgan/bin:$PATH PIP_NO_CACHE_DIR=1
RUN pip install --index-url "$TORCH_INDEX" torch torchaudio torchvision
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY plugins plugins
RUN pip install ".[$EXTRAS]" && pip check

FROM python:${PYTHON}-slim
COPY --from=build /opt/mmgan /opt/mmgan
ENV PATH=/opt/mmgan/bin:$PATH
RUN useradd --uid 1000 --create-home mmgan && install --directory --owner mmgan /work
USER mmgan
WORKDIR /work
ENTRYPOINT ["mmgan"]
CMD ["--help"]
