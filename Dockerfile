# Releases are built by hack/image; this file is for those who build with Docker. Both images can be replaced, by a mirror
# or by a digest: docker build --build-arg BASE_IMAGE=gcr.io/distroless/static@sha256:...
ARG BUILD_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static:nonroot

# Go cross-compiles, so the build stage runs on the platform of the machine.
FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG REVISION=
WORKDIR /src

# A separate layer, so that modules are downloaded again only when these two files change.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -pgo=/src/hack/callback.pgo -trimpath -buildvcs=false \
      -ldflags "-s -w -X main.version=${VERSION} -X main.revision=${REVISION}" -o /groupgate .

FROM ${BASE_IMAGE}
COPY --from=build /groupgate /groupgate
USER 65532:65532
ENTRYPOINT ["/groupgate"]
CMD ["manager"]
