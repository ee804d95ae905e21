"""Names by OpenTelemetry's conventions: GenAI (its own repository, v0.1.0), tests, errors; and our own."""

from __future__ import annotations

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
MAX_TOKENS = "gen_ai.request.max_tokens"
STOP_SEQUENCES = "gen_ai.request.stop_sequences"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"

EVALUATION = "gen_ai.evaluation.result"
EVALUATION_NAME = "gen_ai.evaluation.name"
SCORE = "gen_ai.evaluation.score.value"
LABEL = "gen_ai.evaluation.score.label"
EXPLANATION = "gen_ai.evaluation.explanation"

ERROR_TYPE = "error.type"

CASE_NAME = "test.case.name"
CASE_STATUS = "test.case.result.status"
SUITE_NAME = "test.suite.name"
SUITE_STATUS = "test.suite.run.status"

#: Our own.
MODE = "promptopt.mode"
PROMPT = "promptopt.prompt"
PROMPTS = "promptopt.prompts"
SPLIT = "promptopt.split"
SAMPLE = "promptopt.sample"
STATUS = "promptopt.status"
ROLE = "promptopt.role"
#: Where the answer came from: the `model`, the `cache` on disk, or another case of this `session`.
SOURCE = "promptopt.answer.source"
ATTEMPTS = "promptopt.attempts"
COST = "promptopt.cost_usd"
ITERATION = "promptopt.iteration"
PHASE = "promptopt.phase"
RATE_BEFORE = "promptopt.rate.before"
RATE_BEST = "promptopt.rate.best"
CANDIDATE = "promptopt.candidate"
DIRECTION = "promptopt.candidate.direction"
VERDICT = "promptopt.candidate.verdict"
REASON = "promptopt.candidate.reason"
FIXED = "promptopt.candidate.fixed"
BROKEN = "promptopt.candidate.broken"
OUTCOME = "promptopt.outcome"
WRITTEN = "promptopt.written"

#: Parameters of a request that have a name of their own.
PARAMETERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
}

#: Providers that the conventions call otherwise than the names of models do.
PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}


def provider_of(model: str) -> str:
    """The provider of ``provider/model``, as the conventions call it."""
    provider = model.partition("/")[0]
    return PROVIDERS.get(provider, provider)
