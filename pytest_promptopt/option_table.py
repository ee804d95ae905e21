"""The settings that a user gives as text, by option, ini value or argument: what each accepts."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_promptopt.option_values import (
    Parse,
    confidence,
    example_count,
    field_names,
    file_path,
    file_paths,
    intercepted_hosts,
    least_points,
    model_name,
    model_or_none,
    money,
    on_or_off,
    one_of,
    pass_rate,
    seconds,
    several_of,
    significance,
    split_shares,
    strategy_names,
    target_models,
    whole_number,
)
from pytest_promptopt.settings import (
    MAX_EXAMPLES,
    Accept,
    Breaking,
    CacheMode,
    CritiqueMode,
    FailOn,
    GateMode,
    GatePopulation,
    GateSplit,
    Undecided,
)


@dataclass(frozen=True)
class Option:
    """One setting.

    :param field: of `Settings`.
    :param flag: of the option, without its prefix; None for a setting of the ini file only.
    :param ini_type: as `parser.addini` takes it.
    :param parse: from the name to blame and the text given to the value; raises `SettingsError`.
    """

    field: str
    flag: str | None
    ini_type: str
    metavar: str
    help: str
    parse: Parse

    @property
    def ini(self) -> str:
        return f"promptopt_{self.field}"


OPTIONS = (
    Option(
        "model",
        "model",
        "string",
        "MODEL",
        "Model that the prompts are for: provider/model, or demo; several, separated by commas, are compared",
        target_models,
    ),
    Option(
        "from_model",
        "from-model",
        "string",
        "MODEL",
        "With --optimize: move the prompts from this model to --promptopt-model, and report both",
        model_name,
    ),
    Option(
        "prompt",
        "prompt",
        "string",
        "PATH",
        "Prompt file of the cases in a table that is named on the command line: pytest cases.csv "
        "--promptopt-prompt=PATH",
        file_path,
    ),
    Option(
        "optimizer_model",
        "optimizer-model",
        "string",
        "MODEL",
        "Model that writes candidates, or none: only examples are tried (default: anthropic/claude-opus-5-5)",
        model_or_none,
    ),
    Option(
        "judge_model",
        "judge-model",
        "string",
        "MODEL",
        "Model that grades answers for the fixture judge: provider/model, or demo",
        model_name,
    ),
    Option(
        "embedding_model",
        "embedding-model",
        "string",
        "MODEL",
        "Model whose embeddings the check `similar` compares: provider/model, or demo; with none it compares "
        "letters (default: none)",
        model_or_none,
    ),
    Option(
        "judge_prompt",
        None,
        "string",
        "PATH",
        "Prompt file of the judge, from rootdir; without it the one of the package",
        file_path,
    ),
    Option(
        "judge_labels",
        None,
        "linelist",
        "PATHS",
        "Files of labelled answers, from rootdir, by which a judge is tested; one a line",
        file_paths,
    ),
    Option(
        "judge_threshold",
        None,
        "string",
        "SCORE",
        "Score from which a verdict is true, and from which an answer counts as good in the test of a judge "
        "(default: 0.7)",
        pass_rate,
    ),
    Option(
        "judge_floor",
        None,
        "string",
        "RATE",
        "Precision and recall that a judge must be shown to reach before it may decide (default: 0.7)",
        pass_rate,
    ),
    Option(
        "critique",
        "critique",
        "string",
        "SWITCH",
        "Have a model say what is wrong with the worst answers before candidates are asked for: on, off, or "
        "auto (where most failures do not say what would be right) (default: off)",
        one_of(CritiqueMode),
    ),
    Option(
        "strategy",
        "strategy",
        "string",
        "NAME",
        "How to search: refine, evolve, hybrid, gepa, dspy-gepa, dspy-miprov2, or a plugin's; several, "
        "separated by commas, are compared by --optimize-dry-run (default: refine)",
        strategy_names,
    ),
    Option(
        "candidates",
        "candidates",
        "int",
        "N",
        "Candidates per iteration, 1 to 10 (default: 3)",
        whole_number(1, 10),
    ),
    Option(
        "examples",
        "examples",
        "string",
        "K",
        f"Training cases in a prompt as examples: auto (as many as pay, up to {MAX_EXAMPLES}), off, or K at "
        "most (default: auto)",
        example_count,
    ),
    Option(
        "max_iterations", "max-iterations", "int", "N", "Iterations at most (default: 20)", whole_number(1)
    ),
    Option(
        "plateau",
        "plateau",
        "int",
        "N",
        "Stop after this many iterations that gain less than 2 points (default: 5)",
        whole_number(1),
    ),
    Option(
        "learn",
        "learn",
        "string",
        "SWITCH",
        "Begin with what earlier runs of the same cases have taught: on or off (default: on)",
        on_or_off,
    ),
    Option(
        "target", "target", "float", "RATE", "Pass rate to stop at, such as 0.95 (default: 1.0)", pass_rate
    ),
    Option(
        "accept",
        "accept",
        "string",
        "WHAT",
        "Write an improved text only, or the best one even if not shown to be better (default: improved)",
        one_of(Accept),
    ),
    Option(
        "alpha",
        "alpha",
        "float",
        "P",
        "A change counts as shown from this p-value down, above 0 and at most 0.5 (default: 0.05)",
        significance,
    ),
    Option(
        "mutate_by",
        "mutate-by",
        "string",
        "WAYS",
        "With --promptopt-mutate: how an instruction is broken: delete, weaken, negate; several, separated "
        "by commas, are tried until a test notices one (default: delete)",
        several_of(Breaking),
    ),
    Option(
        "max_calls",
        "max-calls",
        "int",
        "N",
        "Model calls of the session at most, all roles together",
        whole_number(1),
    ),
    Option(
        "max_tokens",
        "max-tokens",
        "int",
        "N",
        "Tokens of the session at most, of requests and answers, all roles together",
        whole_number(1),
    ),
    Option("max_cost", "max-cost", "float", "USD", "Spend of the session at most, in US dollars", money),
    Option(
        "max_time",
        "max-time",
        "string",
        "TIME",
        "No model call is sent or waited for after this time: 90s, 15m, 2h",
        seconds,
    ),
    Option(
        "concurrency",
        "concurrency",
        "int",
        "N",
        "Model calls in flight at most (default: 50)",
        whole_number(1, 1000),
    ),
    Option("samples", "samples", "int", "N", "How often each case is run (default: 1)", whole_number(1)),
    Option(
        "seed",
        "seed",
        "int",
        "N",
        "Seed of every choice that is the plugin's own (default: 0)",
        whole_number(0),
    ),
    Option(
        "cache",
        "cache",
        "string",
        "MODE",
        "Stored answers: use, refresh (ask again, store) or off",
        one_of(CacheMode),
    ),
    Option(
        "min_pass_rate",
        "min-pass-rate",
        "float",
        "RATE",
        "Gate: each prompt must reach this pass rate; its single failing cases no longer fail the session",
        pass_rate,
    ),
    Option(
        "max_cost_per_case",
        "max-cost-per-case",
        "float",
        "USD",
        "Gate: a case of each prompt may cost so much on average, with whatever its answers cost when paid",
        money,
    ),
    Option(
        "p95_latency",
        "p95-latency",
        "string",
        "TIME",
        "Gate: 95 of 100 answers to each prompt must come within this time, e.g. 2s",
        seconds,
    ),
    Option(
        "gate",
        "gate",
        "string",
        "MODE",
        "What must reach the pass rate: the measured rate, or the interval around it, which may leave a gate "
        "undecided (default: rate)",
        one_of(GateMode),
    ),
    Option(
        "undecided",
        "undecided",
        "string",
        "WHAT",
        "What an undecided gate does to the session: fail or pass (default: fail)",
        one_of(Undecided),
    ),
    Option(
        "gate_samples",
        "gate-samples",
        "string",
        "N",
        "Ask the cases of an undecided gate again, up to N samples each, until it is decided (with "
        "--promptopt-gate=interval)",
        whole_number(2),
    ),
    Option(
        "gate_confidence",
        None,
        "float",
        "SHARE",
        "Confidence of a gate's interval, from 0.5 to below 1 (default: 0.95)",
        confidence,
    ),
    Option(
        "gate_margin",
        None,
        "float",
        "POINTS",
        "By interval, a rate so many points below the threshold is good enough for a gate (default: 0)",
        least_points,
    ),
    Option(
        "gate_population",
        None,
        "string",
        "WHAT",
        "What a gate's interval is about: answers (these cases, asked again) or cases (others of their kind) "
        "(default: answers)",
        one_of(GatePopulation),
    ),
    Option(
        "gate_split",
        None,
        "string",
        "WHICH",
        "The cases that decide a gate: all or heldout (default: all)",
        one_of(GateSplit),
    ),
    Option(
        "gate_partial",
        "gate-partial",
        "string",
        "SWITCH",
        "Decide gates also where -k, -m, --lf, --ignore, a path or a test id leaves cases out: on or off "
        "(default: off)",
        on_or_off,
    ),
    Option(
        "fail_on",
        "fail-on",
        "string",
        "WHAT",
        "Which comparison (--promptopt-compare) fails the session: significant (a loss that is shown) or any "
        "(a broken case that is not flaky)",
        one_of(FailOn),
    ),
    Option(
        "compare_margin",
        None,
        "float",
        "POINTS",
        "A comparison lets a loss of so many points pass, also one that is shown (default: 0)",
        least_points,
    ),
    Option(
        "least_gain",
        None,
        "float",
        "POINTS",
        "End a search when its next iteration is expected to win less than this for 100 calls (default: 1)",
        least_points,
    ),
    Option(
        "split",
        None,
        "string",
        "A/B/C",
        "Divide unmarked cases into train/validation/held-out by these percentages, such as 60/20/20",
        split_shares,
    ),
    Option(
        "intercept",
        None,
        "string",
        "on|off|+HOST|-HOST",
        "Handle the model calls that the code under test makes by itself: off, or hosts to add or leave out "
        "(default: on)",
        intercepted_hosts,
    ),
    Option(
        "ignore_fields",
        None,
        "string",
        "NAMES",
        "Fields of such calls' bodies that only tell one call from another, besides metadata and user",
        field_names,
    ),
    Option(
        "foreign_suites",
        None,
        "linelist",
        "PATTERNS",
        "Configurations of promptfoo and evals of skills that are collected unnamed: patterns of their paths "
        "from rootdir, one a line",
        file_paths,
    ),
)
