#!/bin/sh
# Commits prompts.patch on a branch of its own, and opens a merge request with merge-request.md, or updates the open one.
#
#     BRANCH=promptopt/nightly sh .gitlab/open_merge_request.sh
#
# The branch belongs to this script: each run replaces it. What a model wrote is in files and variables only, never in
# the text of a command.
set -eu

title=$(head -n 1 merge-request.md)

git switch --quiet --force-create "$BRANCH"
git apply --index prompts.patch
git -c user.name="promptopt" -c user.email="promptopt@noreply.$CI_SERVER_HOST" commit --quiet --message "$title"
# git asks the helper for the token: so it is in no command line and in no file.
git -c credential.helper= \
    -c credential.helper='!f() { echo username=oauth2; echo "password=$PROMPTS_TOKEN"; }; f' \
    push --quiet --force "$CI_PROJECT_URL.git" "HEAD:refs/heads/$BRANCH"

python3 "$(dirname "$0")/merge_request.py" open merge-request.md
