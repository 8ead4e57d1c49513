# CPU:   docker build -t svtool .
# CUDA:  docker build -t svtool:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# Run:   docker run --rm -v "$PWD:/work" svtool eval trials scores
#
# TORCH_INDEX is the index that provides torch and torchaudio, TORCH their requirement.
FROM python:3.12-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH="torch>=2.11,<2.14"
RUN python -m venv /opt/svtool
ENV PATH=/opt/svtool/bin:$PATH PIP_NO_CACHE_DIR=1
RUN pip install --index-url "$TORCH_INDEX" "$TORCH" torchaudio
COPY pyproject.toml README.md LICENSE /src/
COPY sv_cli /src/sv_cli
COPY recipes /src/recipes
COPY data_templates /src/data_templates
ARG EXTRAS=hub,onnx
RUN pip install "/src[$EXTRAS]"

FROM python:3.12-slim
COPY --from=build /opt/svtool /opt/svtool
ENV PATH=/opt/svtool/bin:$PATH OMP_NUM_THREADS=1
RUN useradd --create-home svtool
USER svtool
WORKDIR /work
ENTRYPOINT ["svtool"]
CMD ["--help"]
