# The daily recipes; each is one line that can be typed without `just`.

# Start everything in this folder.
up:
    cargo run -- up

# What CI checks before it tests.
check:
    git ls-files -z '*.rs' | xargs -0 rustfmt --edition 2024 --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Every test, on throw-away servers.
test:
    cargo test --workspace --locked

# Write the generated contract.
gen:
    cargo run --locked -- openapi > openapi/openapi.json

# Write a client package for each language to target/clients.
clients:
    tests/clients/generate

# Grade the contract with linters, stories of generated clients and made-up requests,
# and the edge with slow heads, what must be refused and too many sign-ins: it fails
# where a target is missed.
contract *ARGS:
    cargo build --locked --package headwater
    tests/clients/run
    tests/graders/run {{ARGS}}
    cargo build --release --locked --package bench --package headwater
    target/release/bench --headwater target/release/headwater --only half_open,refused,overload --strict

# Measure against ceilings of the same run.
bench *ARGS:
    cargo build --release --locked --package bench --package headwater
    target/release/bench --headwater target/release/headwater {{ARGS}}

# Crash trials: `just trials 40 --seed 7`.
trials *ARGS:
    cargo build --locked --package headwater --package trials
    target/debug/trials {{ARGS}}

# Break the product on purpose; every mutant must be killed by its test.
mutants *ARGS:
    cargo run --locked --package oracle --bin mutants -- {{ARGS}}

# Change `domain` in every small way, and list what no test notices (`cargo install cargo-mutants --locked` first).
mutants-domain:
    cargo mutants --package domain --jobs 1 --minimum-test-timeout 60 --output target
