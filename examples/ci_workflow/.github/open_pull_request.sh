#!/bin/sh
# Commits prompts.patch on a branch of its own, and opens a pull request with pull-request.md, or updates the open one.
#
#     BASE=main BRANCH=promptopt/nightly sh .github/open_pull_request.sh FOLDER
#
# FOLDER has both files. The branch belongs to this script: each run replaces it. It needs gh with a token that may
# write contents and pull requests. What a model wrote is in files and variables only, never in the text of a command.
set -eu

folder=$1
title=$(head -n 1 "$folder/pull-request.md")
tail -n +3 "$folder/pull-request.md" > "$folder/body.md"

git switch --quiet --force-create "$BRANCH"
git apply --index "$folder/prompts.patch"
git -c user.name="github-actions[bot]" -c user.email="41898282+github-actions[bot]@users.noreply.github.com" \
    commit --quiet --message "$title"
gh auth setup-git
git push --quiet --force origin "HEAD:refs/heads/$BRANCH"

# A fork may have a branch of this name: its pull request is not ours.
number=$(gh pr list --head "$BRANCH" --base "$BASE" --state open --json number,isCrossRepository \
    --jq 'map(select(.isCrossRepository | not)) | .[0].number // empty')
if [ -n "$number" ]; then
    # `gh pr edit` also asks for project cards, which some tokens may not read (cli/cli#8784).
    gh api --silent --method PATCH "repos/{owner}/{repo}/pulls/$number" \
        --raw-field title="$title" --field body="@$folder/body.md"
else
    gh pr create --base "$BASE" --head "$BRANCH" --title "$title" --body-file "$folder/body.md"
fi
