# The image of order-gateway: one static program that nobody but user 65532 runs. No shell, no package manager.
#
#   docker build -t order-gateway .                              or: buildah build --format docker -t order-gateway .
#   docker run --read-only -v gateway:/var/lib/order-gateway -v ./settings.toml:/etc/order-gateway/settings.toml:ro order-gateway
#
# The base images are named by tags, and tags move. A release names them by what they are, so that it can be built again:
#
#   digest() { skopeo inspect --format '{{.Name}}@{{.Digest}}' "docker://$1"; }
#   docker build --build-arg RUST_IMAGE="$(digest docker.io/library/rust:1.95.0-bookworm)" \
#                --build-arg RUNTIME_IMAGE="$(digest gcr.io/distroless/static-debian12:nonroot)" \
#                --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" --build-arg REVISION="$(git rev-parse HEAD)" .

# Any Linux with glibc will do that has Rust and a C compiler; glibc must be 2.34 or newer (scripts/static-binary).
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm
# Certificates of authorities, /tmp, and a user. `scratch` will do as well, with certificates mounted at
# /etc/ssl/certs/ca-certificates.crt (or where SSL_CERT_FILE says).
ARG RUNTIME_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${RUST_IMAGE} AS build
ARG CARGO_AUDITABLE=0.7.7
RUN cargo install cargo-auditable --version "${CARGO_AUDITABLE}" --locked
WORKDIR /source
# The dependencies in a layer of their own, which is built anew only when a Cargo file changes.
COPY Cargo.toml Cargo.lock ./
COPY tests/power-cut/Cargo.toml tests/power-cut/
COPY scripts/static-binary scripts/
RUN scripts/static-binary --dependencies
COPY . .
# Of the release: the commit, which `--version` names. There is no .git here.
ARG REVISION=""
RUN ORDER_GATEWAY_REVISION="${REVISION}" scripts/static-binary /out && install -d /out/state \
    && scripts/licences /out/THIRD-PARTY-LICENCES

FROM ${RUNTIME_IMAGE} AS runtime
ARG VERSION=0.1.0
# Of the release: commit, time (RFC 3339), address of the sources.
ARG REVISION=""
ARG CREATED=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="order-gateway" \
      org.opencontainers.image.description="One typed gRPC door to Walmart fulfillment" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
COPY LICENSE /usr/share/doc/order-gateway/LICENSE
# Of all crates in the program.
COPY --from=build /out/THIRD-PARTY-LICENCES /usr/share/doc/order-gateway/THIRD-PARTY-LICENCES
COPY --from=build /out/order-gateway /usr/local/bin/order-gateway
# All that is ever written: store.url = "sqlite://order-gateway.db" is a file in it.
COPY --from=build --chown=65532:65532 /out/state /var/lib/order-gateway
VOLUME /var/lib/order-gateway
WORKDIR /var/lib/order-gateway
# By number: Kubernetes can tell that it is not root.
USER 65532:65532
# Calls; webhooks and probes; metrics and the page, where admin.listen is set.
EXPOSE 50051 8080 8081
# For engines that look at it; Kubernetes does not. With [grpc.tls] leave it out (--no-healthcheck) and probe /livez.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/order-gateway", "health", "--addr", "127.0.0.1:50051"]
ENTRYPOINT ["/usr/local/bin/order-gateway"]
CMD ["serve", "--config", "/etc/order-gateway/settings.toml"]
