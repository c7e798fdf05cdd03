# One image for each daemon: a static binary and nothing else. See `make images`.
FROM scratch
ARG BINARY
COPY bin/${BINARY} /entrypoint
USER 65532:65532
ENTRYPOINT ["/entrypoint"]
