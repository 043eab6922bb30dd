#!/usr/bin/env bash
# Builds the image and puts it into the account's container registry: build_and_push.sh --help.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

usage() {
  cat <<'TEXT'
usage: deploy/docker/build_and_push.sh [OPTIONS]

Builds the image (docker buildx) and pushes it to ECR; a repository that is missing is made. The last line, and the
only one on standard output, is the image's URI, for TrainingImage or `image` of a job.

  --target cpu|cuda   which image [cuda]
  --name NAME         repository [atoll]
  --tag TAG           [the target]
  --region REGION     [AWS_REGION, else the profile's]
  --user root|atoll   who runs in it; SageMaker needs root [root]
  --build-arg K=V     handed on to docker (repeatable)
  --no-push           build and keep it here; needs no AWS
TEXT
}

say() { printf '%s\n' "$*" >&2; }
die() { say "build_and_push.sh: $*"; exit 1; }
bad_usage() { say "build_and_push.sh: $* (see --help)"; exit 2; }

target=cuda name=atoll tag='' region='' user=root push=1
arguments=()
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --no-push) push=0; shift; continue ;;
    --target | --name | --tag | --region | --user | --build-arg)
      (($# >= 2)) || bad_usage "$1 needs a value" ;;
    *) bad_usage "unknown option $1" ;;
  esac
  case $1 in
    --target) target=$2 ;;
    --name) name=$2 ;;
    --tag) tag=$2 ;;
    --region) region=$2 ;;
    --user) user=$2 ;;
    --build-arg) arguments+=(--build-arg "$2") ;;
  esac
  shift 2
done
[[ $target == cpu || $target == cuda ]] || bad_usage "--target is cpu or cuda, not '$target'"
[[ $user == root || $user == atoll ]] || bad_usage "--user is root or atoll, not '$user'"
tag=${tag:-$target}

command -v docker >/dev/null || die "docker is not installed (https://docs.docker.com/engine/install)"
docker info >/dev/null 2>&1 || die "docker does not answer: is its service running, and are you in the group docker?"
docker buildx version >/dev/null 2>&1 || die "docker has no buildx: install docker-buildx-plugin"

# Without attestations: SageMaker takes no image index.
build() {
  (cd "$ROOT" && docker buildx build --platform linux/amd64 --provenance=false --target "$target" \
    --build-arg "ATOLL_USER=$user" ${arguments[@]+"${arguments[@]}"} -f deploy/docker/Dockerfile "$@" . >&2)
}

if ((!push)); then
  build --load -t "$name:$tag" || die "the build failed; what it said is above"
  echo "$name:$tag"
  exit 0
fi

command -v aws >/dev/null || die "the AWS command line is not installed (or build with --no-push)"
region=${region:-${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}}
[[ -n $region ]] || die "no region: give --region, or set AWS_REGION"
account=$(aws sts get-caller-identity --query Account --output text) ||
  die "AWS does not know who you are: see to your credentials (aws sts get-caller-identity)"
suffix=amazonaws.com
[[ $region != cn-* ]] || suffix=amazonaws.com.cn
registry=$account.dkr.ecr.$region.$suffix
image=$registry/$name:$tag

if ! found=$(aws ecr describe-repositories --region "$region" --repository-names "$name" 2>&1); then
  [[ $found == *RepositoryNotFoundException* ]] || die "looking for the repository $name: $found"
  say "-- making the repository $name in $region"
  aws ecr create-repository --region "$region" --repository-name "$name" \
    --image-scanning-configuration scanOnPush=true >/dev/null ||
    die "the repository $name cannot be made: it takes ecr:CreateRepository"
fi
aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "$registry" >/dev/null ||
  die "the registry $registry refuses us: it takes ecr:GetAuthorizationToken"
say "-- building $image"
build --push -t "$image" || die "building or pushing failed; what docker said is above"
echo "$image"
