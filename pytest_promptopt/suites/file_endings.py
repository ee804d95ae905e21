"""How names of files that hold cases end; imported in every session, and so imports nothing."""

from __future__ import annotations

#: Suites, which pytest collects like test modules.
SUITES = (".promptopt.yaml", ".promptopt.yml")
#: Files that hold cases and nothing else, whatever they are for.
ONLY_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
#: Tables, collected where the command line names the file, and the prompt that it is for.
TABLES = (*ONLY_TABLES, ".json", ".yaml", ".yml")
#: Files of other programs, collected where they are named.
FOREIGN = (".yaml", ".yml", ".json")
