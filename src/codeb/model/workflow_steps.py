"""What the steps of a generated workflow run: bash with curl and jq, and docker where something is built.

Nothing is put into these texts. What varies reaches them by the environment of their step, so that a project's name, a branch
or a commit message is never read as a program. What CodeB, a build or a container says is shown between `::stop-commands::`.
"""

CALLS = """\
for program in curl jq; do
  command -v "$program" >/dev/null || { echo "::error::This runner has no $program, which this workflow needs."; exit 1; }
done
if [ -z "$CODEB_API_KEY" ]; then
  echo "::error::The repository has no secret CODEB_API_KEY."
  exit 1
fi
cat >"$RUNNER_TEMP/codeb.sh" <<'END'
# What the steps share.

# quoted: shows what it reads, of which the runner takes nothing for a command.
quoted() {
  local word
  word=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')
  echo "::stop-commands::$word"
  cat
  echo
  echo "::$word::"
}

# codeb TOOL PARAMS [KEY]: the answer. With a KEY a call has one effect, however often it is sent.
codeb() {
  local answer=$RUNNER_TEMP/codeb-answer.json status code
  jq -n --arg tool "$1" --argjson params "$2" '{tool: $tool, params: $params}' >"$RUNNER_TEMP/codeb-call.json" || return 1
  # the key goes by a pipe: what is on a command line can be read by everybody on the machine
  if ! status=$({
    printf 'X-API-Key: %s\\n' "$CODEB_API_KEY"
    if [ -n "${3:-}" ]; then printf 'Idempotency-Key: %s\\n' "$3"; fi
  } | curl --silent --show-error --max-time 90 --retry 5 --retry-connrefused --header @- \\
    --header 'Content-Type: application/json' --data-binary "@$RUNNER_TEMP/codeb-call.json" \\
    --output "$answer" --write-out '%{http_code}' "$CODEB_API_URL/api/tool"); then
    echo "::error::CodeB does not answer at $CODEB_API_URL." >&2
    return 1
  fi
  if [ "$status" -lt 400 ]; then
    cat "$answer"
    return
  fi
  code=$(jq -r '.code // "" | select(test("^[a-z_]+$"))' "$answer") || code=
  echo "::error::CodeB refused $1: ${code:-no reason} ($status)." >&2
  jq -r '.error, (.hint // empty), ((.details.logs // [])[])' "$answer" | quoted >&2
  return 1
}

# codeb_end ANSWER: what an operation came to, once it has ended.
codeb_end() {
  local id seen=0 answer
  id=$(jq -r '.operationId // empty' <<<"$1")
  if [ -z "$id" ]; then
    printf '%s' "$1"
    return
  fi
  while :; do
    answer=$(codeb operation_get "$(jq -n --arg id "$id" --argjson seen "$seen" \\
      '{operationId: $id, waitSeconds: 30, seen: $seen}')") || return 1
    [ -z "$(jq -r '.operation.endedAt // empty' <<<"$answer")" ] || break
    seen=$(jq '.changes' <<<"$answer")
  done
  jq -r '.steps[] | "\\(.name): \\(.status), \\(.durationMs // 0 | floor) ms"' <<<"$answer" | quoted >&2
  if [ "$(jq -r '.operation.state' <<<"$answer")" != succeeded ]; then
    echo "::error::The operation $id did not succeed." >&2
    jq -r '.operation | (.error // {} | (.message // empty), (.hint // empty), ((.details.logs // [])[])),
      (.warnings // [])[]' <<<"$answer" | quoted >&2
    return 1
  fi
  jq -c --arg id "$id" '(.result // {}) + {operationId: $id}' <<<"$answer"
}

# answers URL: whether it answers 2xx or 3xx, seen from here.
answers() {
  local status code=0
  printf '%s' "$1" | quoted
  status=$(curl --silent --show-error --max-time 20 --retry 5 --retry-connrefused --proto '=http,https' \\
    --output /dev/null --write-out '%{http_code}' --url "$1") || code=$?
  case $code in
    0) ;;
    6 | 60)
      echo "::warning::This runner does not know the name or the certificate of the address; CodeB has asked it itself."
      return
      ;;
    *)
      echo "::error::The address does not answer (curl: $code)."
      return 1
      ;;
  esac
  if [ "$status" -ge 400 ]; then
    echo "::error::The address answers $status."
    return 1
  fi
}

# health_path: where the project says that it is well.
health_path() {
  local answer
  answer=$(codeb project_get "$(jq -n '{projectName: env.CODEB_PROJECT}')") || return 1
  jq -r '.project.healthPath' <<<"$answer"
}
END
"""

HERE = """\
. "$RUNNER_TEMP/codeb.sh"
if ! curl --fail --silent --show-error --max-time 10 --retry 3 --retry-connrefused --output /dev/null \\
  --url "$CODEB_API_URL/health"; then
  echo "::error::CodeB does not answer at $CODEB_API_URL."
  exit 1
fi
"""

SCAN = """\
answer=$(codeb scan "$(jq -n '{projectName: env.CODEB_PROJECT, environment: env.CODEB_ENVIRONMENT}')")
jq -r '.checks[] | "\\(.status)  \\(.name): \\(.text)" + if .status == "pass" then "" else ". \\(.fix)" end' <<<"$answer" | quoted
if [ "$(jq '.ready' <<<"$answer")" != true ]; then
  echo "::error::$CODEB_PROJECT is not ready to be deployed: see the lines that begin with fail."
  exit 1
fi
"""

NAME = """\
# what the image is called, and whatever would be refused after the build
answer=$(codeb deploy "$(jq -n '{
  projectName: env.CODEB_PROJECT, environment: env.CODEB_ENVIRONMENT, version: env.VERSION, dryRun: true
}')")
image=$(jq -r '.plan.image' <<<"$answer")
if [[ ! $image =~ ^[A-Za-z0-9][A-Za-z0-9._:/-]*$ ]]; then
  echo "::error::CodeB did not say what the image is called."
  exit 1
fi
echo "image=$image" >>"$GITHUB_OUTPUT"
"""

BUILD = """\
. "$RUNNER_TEMP/codeb.sh"
docker buildx version >/dev/null || { echo "::error::This runner has no docker buildx, which this workflow needs."; exit 1; }
registry=${IMAGE%%/*}
if [ -n "$IMAGE_REGISTRY_USER" ]; then
  printf '%s' "$IMAGE_REGISTRY_PASSWORD" | docker login --username "$IMAGE_REGISTRY_USER" --password-stdin "$registry"
  trap 'docker logout "$registry" >/dev/null' EXIT
fi
options=()
"""

BUILDER = """\
# Docker's own builder keeps no cache elsewhere, unless containerd keeps its images
driver=$(docker buildx inspect | awk '$1 == "Driver:" && !seen++ {print $2}')
if [ "$driver" = docker ] && ! docker info --format '{{json .DriverStatus}}' | grep -F io.containerd.snapshotter >/dev/null; then
  docker buildx inspect codeb >/dev/null 2>&1 ||
    docker buildx create --name codeb --driver docker-container --driver-opt network=host
  options+=(--builder codeb)
fi
"""

BUILDER_S3 = """\
# Docker's own builder keeps no cache in S3
driver=$(docker buildx inspect | awk '$1 == "Driver:" && !seen++ {print $2}')
if [ "$driver" = docker ]; then
  docker buildx inspect codeb >/dev/null 2>&1 ||
    docker buildx create --name codeb --driver docker-container --driver-opt network=host
  options+=(--builder codeb)
fi
"""

CACHES = {
    "registry": BUILDER + """\
kept="type=registry,ref=${IMAGE%:*}/buildcache:$CACHE_NAME"
options+=(--cache-from "$kept" --cache-to "$kept,mode=max,image-manifest=true,oci-mediatypes=true,ignore-error=true")
""",
    "s3": BUILDER_S3 + """\
kept="type=s3,endpoint_url=$S3_ENDPOINT,bucket=$S3_BUCKET,region=$S3_REGION,use_path_style=true,name=$CODEB_PROJECT-$CACHE_NAME"
options+=(--cache-from "$kept" --cache-to "$kept,mode=max,ignore-error=true")
""",
    "none": "",
}  # fmt: skip

PUSH = """\
# without provenance: with it the same tree has another digest each time
docker buildx build --progress plain --provenance=false --push --tag "$IMAGE" --metadata-file "$RUNNER_TEMP/build.json" \\
  "${options[@]}" -- "$CONTEXT" 2>&1 | quoted
digest=$(jq -r '."containerimage.digest" // empty' "$RUNNER_TEMP/build.json")
if [[ ! $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
  echo "::error::The image was pushed, but the builder did not say as what."
  exit 1
fi
echo "image=$IMAGE@$digest" >>"$GITHUB_OUTPUT"
"""

DEPLOY = """\
. "$RUNNER_TEMP/codeb.sh"
answer=$(codeb deploy "$(jq -n '{
  projectName: env.CODEB_PROJECT, environment: env.CODEB_ENVIRONMENT, image: env.IMAGE, version: env.VERSION, wait: false
}')" "github-$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT-deploy")
result=$(codeb_end "$answer")
printf '%s' "$result" >"$RUNNER_TEMP/deployed.json"
jq -r '"\\(.version) runs in \\(.slot): \\(.previewUrl)"' <<<"$result" | quoted
"""

VERIFY = """\
. "$RUNNER_TEMP/codeb.sh"
answer=$(codeb slot_status "$(jq -n '{projectName: env.CODEB_PROJECT, environment: env.CODEB_ENVIRONMENT}')")
if ! jq -e --slurpfile is "$RUNNER_TEMP/deployed.json" '.[$is[0].slot] | .deploymentId == $is[0].deploymentId
  and .digest == $is[0].digest and (.state == "deployed" or .state == "active")
  and (.health == "healthy" or .health == "running")' <<<"$answer" >/dev/null; then
  jq -r '.blue, .green | "\\(.slot): \\(.state), \\(.version), \\(.health)"' <<<"$answer" | quoted
  echo "::error::The slot is not what was deployed."
  exit 1
fi
path=$(health_path)
answers "$(jq -r '.previewUrl' "$RUNNER_TEMP/deployed.json")$path"
"""

PROMOTE = """\
. "$RUNNER_TEMP/codeb.sh"
answer=$(codeb promote "$(jq -n --slurpfile is "$RUNNER_TEMP/deployed.json" '{
  projectName: env.CODEB_PROJECT, environment: env.CODEB_ENVIRONMENT, slot: $is[0].slot, wait: false
}')" "github-$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT-promote")
result=$(codeb_end "$answer")
printf '%s' "$result" >"$RUNNER_TEMP/live.json"
"""

LIVE = """\
. "$RUNNER_TEMP/codeb.sh"
answer=$(codeb slot_status "$(jq -n '{projectName: env.CODEB_PROJECT, environment: env.CODEB_ENVIRONMENT}')")
if ! jq -e --slurpfile is "$RUNNER_TEMP/live.json" '.activeSlot == $is[0].activeSlot' <<<"$answer" >/dev/null; then
  echo "::error::The slot that has the traffic is not the one that was given it."
  exit 1
fi
path=$(health_path)
answers "$(jq -r '.url' <<<"$answer")$path"
"""

TASK = """\
. "$RUNNER_TEMP/codeb.sh"
live='{}'
if [ -e "$RUNNER_TEMP/live.json" ]; then live=$(jq '{operationId}' "$RUNNER_TEMP/live.json"); fi
if answer=$(codeb task_complete "$(jq -n --argjson live "$live" \\
  '{projectName: env.CODEB_PROJECT, commitMessage: env.COMMIT_MESSAGE[:10000]} + $live')" \\
  "github-$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT-task"); then
  jq -r '.summary' <<<"$answer" | quoted
else
  echo "::warning::The version is deployed; the task that the commit names was not completed."
fi
"""

SWITCH = """\
. "$RUNNER_TEMP/codeb.sh"
case $ACTION in
  promote | rollback) ;;
  *) exit 1 ;;
esac
answer=$(codeb "$ACTION" "$(jq -n '{projectName: env.CODEB_PROJECT, environment: env.CODEB_ENVIRONMENT, wait: false}
  + if env.ACTION == "rollback" and env.REASON != "" then {reason: env.REASON[:2000]} else {} end')" \\
  "github-$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT-$ACTION")
result=$(codeb_end "$answer")
printf '%s' "$result" >"$RUNNER_TEMP/live.json"
jq -r '"\\(.version) has the traffic, in \\(.activeSlot)."' <<<"$result" | quoted
"""

PREVIEW = """\
. "$RUNNER_TEMP/codeb.sh"
answer=$(codeb preview_create "$(jq -n '{
  projectName: env.CODEB_PROJECT, pullRequest: (env.PULL_REQUEST | tonumber), image: env.IMAGE,
  ttlHours: (env.TTL_HOURS | tonumber), wait: false
}')" "github-$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT-preview")
codeb_end "$answer" >/dev/null
# the traffic moves right after that, in an operation of its own
for _ in {1..60}; do
  answer=$(codeb slot_status "$(jq -n '{projectName: env.CODEB_PROJECT, environment: env.CODEB_ENVIRONMENT}')")
  live=$(jq -r '.[.activeSlot // "none"].digest // empty' <<<"$answer")
  [ "$live" != "${IMAGE##*@}" ] || break
  sleep 1
done
if [ "$live" != "${IMAGE##*@}" ]; then
  echo "::error::The preview does not have this version."
  exit 1
fi
path=$(health_path)
url=$(jq -r '.url' <<<"$answer")
answers "$url$path"
printf '%s\\n' "$url" >>"$GITHUB_STEP_SUMMARY"
"""

REMOVE = """\
. "$RUNNER_TEMP/codeb.sh"
answer=$(codeb preview_delete "$(jq -n '{
  projectName: env.CODEB_PROJECT, pullRequest: (env.PULL_REQUEST | tonumber), wait: false
}')" "github-$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT-remove")
codeb_end "$answer" >/dev/null
"""
