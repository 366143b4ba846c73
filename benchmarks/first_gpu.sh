#!/usr/bin/env bash
# The first six minutes on a GPU: do the kernels work there, and how fast are they beside the prediction?
#
#   benchmarks/first_gpu.sh OUT                 everything, on a machine with torch, Triton and fastser's dependencies
#   benchmarks/first_gpu.sh OUT --device cpu    the same stages in small, to try the script without a GPU
#   benchmarks/first_gpu.sh OUT --device cpu --models cnn --cases 1
#
# OUT gets one log and one file of rows per stage, results.json and page.md. A stage that fails or takes too long leaves
# the others running. The exit status is the number of stages that did not pass.
set -uo pipefail
cd "$(dirname "$0")/.."
if [ $# -eq 0 ] || [ "${1#-}" != "$1" ]; then
    echo "usage: benchmarks/first_gpu.sh OUT [--device cpu] [--models cnn,proposed] [--cases N]" >&2
    exit 64
fi
mkdir -p "$1"
out=$(realpath "$1")
shift
device=cuda models=cnn,cnn-lstm,densenet,densenet-lstm,proposed cases=
while [ $# -gt 1 ]; do
    case $1 in
        --device) device=$2 ;;
        --models) models=$2 ;;
        --cases) cases=$2 ;;
        *) echo "unknown option $1: give --device, --models or --cases" >&2; exit 64 ;;
    esac
    shift 2
done
export PYTHONPATH="$PWD:$PWD/kernels${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
rm -f "$out"/{stages.tsv,self-tests.jsonl,steps.jsonl,operations.jsonl}
failed=0

stage() {  # NAME SECONDS COMMAND...
    local name=$1 limit=$2 began=$SECONDS status
    shift 2
    echo "== $name, at most $limit s"
    timeout --kill-after=5 "$limit" "$@" > "$out/$name.log" 2>&1
    status=$?
    printf '%s\t%d\t%d\n' "$name" "$status" $((SECONDS - began)) >> "$out/stages.tsv"
    tail -n 5 "$out/$name.log"
    if [ $status -ne 0 ]; then
        failed=$((failed + 1))
        echo "== $name did not pass (exit status $status), the others go on: see $out/$name.log"
    fi
}

if [ "$device" = cuda ]; then
    stage driver 5 nvidia-smi
    tests=(-m gpu tests/kernels)
else
    tests=(-m "fast and kernel" tests/kernels/test_linf_step.py)
fi
stage self-tests 45 python -m benchmarks.first_gpu self-tests --out "$out" --device "$device"
stage tests 75 python -m pytest -q -n 0 -p no:cacheprovider "${tests[@]}"
stage steps 105 python -m benchmarks.first_gpu steps --out "$out" --device "$device" --models "$models"
stage operations 85 python -m benchmarks.first_gpu operations --out "$out" --device "$device" ${cases:+--cases "$cases"}
stage page 40 python -m benchmarks.first_gpu page --out "$out" --device "$device"
cat "$out/page.md"
exit $failed
