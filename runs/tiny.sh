#!/usr/bin/env bash
# Makes diffcam-tiny from a folder of photos: runs/tiny.sh PHOTOS [OUTPUT]
#
# What finds and what undoes a photo's own blur, the latter in two stages, then scenes, then the model, then its table.
# Hours on two cores. What an earlier call has finished is not done again, and training goes on from its last
# checkpoint. Ray-traced scenes need `make install-all`.
#
# SCALE=small runs all of it with few small scenes and few steps, in minutes on two cores; its model is good for nothing.
set -euo pipefail
usage() { sed -n '2s/^# //p' "$0" >&2; exit 2; }
[ $# -ge 1 ] && [ $# -le 2 ] || usage
[ -d "$1" ] || { echo "$1: no such folder of photos" >&2; exit 2; }
photos=$(realpath "$1")
output=$(realpath -m "${2:-outputs/tiny}")
cd "$(dirname "$0")/.."
[ -d .venv/bin ] && PATH="$PWD/.venv/bin:$PATH"

cores=$(nproc)
loaders=$((cores > 3 ? cores - 3 : 0))  # three cores are left to the training process; 0 loads in it
case ${SCALE:-full} in
  full)
    layered=(--scenes 1200 --size 512)
    traced=(--scenes 60 --size 512)
    defocus=() deblurring=() model=() table=() ;;
  small)
    layered=(--scenes 4 --size 128)
    traced=(--scenes 1 --size 96 --samples 4)
    short() {  # STEPS
      echo --trainer.max_steps "$1" --trainer.val_check_interval "$1" --trainer.log_every_n_steps 1 \
        --data.init_args.batch_size 2
    }
    defocus=($(short 40) --data.init_args.side 64 --model.init_args.scheduler.init_args.total_steps 40)
    deblurring=($(short 3) --data.init_args.side 64 --data.init_args.batch_size 4)  # a quarter is one pair
    model=($(short 2) --trainer.limit_val_batches 1 --data.init_args.piece 96)
    table=(--shards 'data_shards/heldout-stereo-*.tar' --size 96) ;;
  *) echo "SCALE=$SCALE: full or small" >&2; exit 2 ;;
esac

started=$SECONDS
say() { printf '== %s (%d s)\n' "$*" $((SECONDS - started)); }

fit() {  # NAME RESULT OPTIONS...: train configs/NAME.yaml; OUTPUT/NAME/result leads to RESULT of the finished run
  local name=$1 result=$2 last run
  shift 2
  if [ -e "$output/$name/result" ]; then
    say "$name: done before"
    return
  fi
  last=$(ls -t "$output/$name"/version_*/checkpoints/last.ckpt 2>/dev/null | head -n 1 || true)
  say "$name: training${last:+, from $last}"
  lightning fit --config "configs/$name.yaml" --data.init_args.num_workers "$loaders" \
    --trainer.logger.init_args.save_dir "$output" --trainer.default_root_dir "$output" "$@" ${last:+--ckpt_path "$last"}
  run=$(basename "$(ls -dt "$output/$name"/version_* | head -n 1)")
  ln -s "$run/$result" "$output/$name/result"
}

fit defocus defocus --data.init_args.photos "[$photos]" "${defocus[@]}"
fit deblurring deblurring --data.init_args.photos "[$photos]" "${deblurring[@]}"
fit deblurring_found deblurring --data.init_args.photos "[$photos]" "${deblurring[@]}" \
  --model.init_args.network.init_args.path "$output/deblurring/result" \
  --model.init_args.estimator.init_args.path "$output/defocus/result"
mkdir -p "$output/restoration"
ln -sfn ../defocus/result "$output/restoration/defocus"
ln -sfn ../deblurring_found/result "$output/restoration/deblurring"
say "scenes: layered"
diffcam simulate "$photos" --source layered --surfaces "${layered[@]}" --output "$output/shards" --name train
say "scenes: ray-traced"
diffcam simulate "$photos" --source raytraced "${traced[@]}" --output "$output/shards" --name train-traced
fit tiny export --data.init_args.train "['$output/shards/train-*.tar', 'data_shards/train-*.tar']" \
  --model.init_args.model.init_args.restoration.init_args.path "$output/restoration" "${model[@]}"
if [ "$output/table.md" -nt "$output/tiny/result" ]; then
  say "table: done before"
  exit
fi
say "table"
python benchmarks/diffcam_tiny.py --model "$output/tiny/result" --workers "$cores" \
  --output "$output/table" --write "$output/table.md" "${table[@]}"
say "the model: $output/tiny/result; its table: $output/table.md"
