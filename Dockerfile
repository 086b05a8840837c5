# Both images can be replaced, by a mirror for example: docker build --build-arg BASE_IMAGE=...
ARG BUILD_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static:nonroot

# Go compiles for any platform, so the compiler always runs on the machine's own.
FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
WORKDIR /src

# A layer of their own: the modules are downloaded again only when these two files change.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -pgo=/src/hack/callback.pgo -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /groupgate .

FROM ${BASE_IMAGE}
COPY --from=build /groupgate /groupgate
USER 65532:65532
ENTRYPOINT ["/groupgate"]
CMD ["manager"]
