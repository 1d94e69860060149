# An image of qtap, from source: what `cargo xtask image` makes of this machine, made of a Debian. Needs a registry for the first line.
#
#   docker build --build-arg REVISION=$(git rev-parse --short=12 HEAD) --tag qtap .
#
# The base is pinned by version; pin it by digest where builds must repeat: --build-arg BASE=docker.io/library/rust@sha256:…

ARG BASE=docker.io/library/rust:1.95.0-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY . .
# The compiler for the probes (Debian's, or a nightly with rust-src) and bpf-linker: a layer of its own, made anew when xtask changes.
RUN cargo xtask setup --for build
ARG REVISION=unknown
RUN QTAP_GIT_REVISION=${REVISION} cargo xtask image --layout /image

# Nothing but the program, its C library and the authorities: no shell, no package.
FROM scratch
COPY --from=build /image/ /
ENTRYPOINT ["/usr/local/bin/qtap"]
