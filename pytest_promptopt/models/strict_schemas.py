"""JSON schemas as the strict modes of providers take them.

Strict means that the answer is promised to fit. Providers promise that for a part of JSON schema only: every
object must be closed, and some keywords are refused. People's schemas, above all those of pydantic, are
written otherwise; so a copy is made that says the same in the accepted part, or it is said why there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.weak_cache import WeakCache

Schema = Mapping[str, Any]

_ALWAYS = frozenset({"type", "enum", "const", "title", "description"})
_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_LISTS = frozenset({"minItems", "maxItems"})

#: What cannot be said in words either, since it decides which answers there are.
_UNSAYABLE = (
    "not",
    "if",
    "patternProperties",
    "prefixItems",
    "contains",
    "dependentSchemas",
    "dependentRequired",
    "unevaluatedProperties",
)


class NotStrict(ValueError):
    """No strict copy says the same; the message names the place and what stands there."""


@dataclass(frozen=True)
class Dialect:
    """What a provider's strict mode takes.

    :param keywords: those that are sent as they are; all others are said in the description.
    :param formats: what may stand as ``format``.
    :param all_required: every property must be required.
    :param all_of: ``allOf`` of several schemas is taken.
    :param recursive: a schema may refer to itself.
    :param structured_enums: objects and lists may stand in an ``enum``.
    :param least_items: the values that ``minItems`` may have; None for all.
    :param deepest: levels of objects and lists; `most_properties` and `most_values` (of all ``enum``) of the
        whole schema. None for no limit.
    """

    keywords: frozenset[str]
    formats: frozenset[str]
    all_required: bool = False
    all_of: bool = False
    recursive: bool = True
    structured_enums: bool = True
    least_items: tuple[int, ...] | None = None
    deepest: int | None = None
    most_properties: int | None = None
    most_values: int | None = None


_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})

#: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
OPENAI = Dialect(
    _ALWAYS | _NUMBERS | _LISTS | {"pattern"},
    _FORMATS,
    all_required=True,
    deepest=10,
    most_properties=5_000,
    most_values=1_000,
)

#: https://docs.claude.com/en/docs/build-with-claude/structured-outputs#json-schema-limitations
CLAUDE = Dialect(
    _ALWAYS | {"minItems"},
    _FORMATS | {"uri"},
    all_of=True,
    recursive=False,
    structured_enums=False,
    least_items=(0, 1),
)


def strict_copy(schema: Schema, dialect: Dialect) -> dict[str, Any]:
    """A copy of `schema` for a strict mode; `schema` itself stays. Raises `NotStrict`."""
    return _Copy(schema, dialect).whole()


def schema_of(given: object) -> Any:
    """The JSON schema that a test means by ``response_schema=``: a schema, or a type that pydantic knows.

    Raises `SettingsError` for a type that pydantic knows no schema of.
    """
    if given is None or isinstance(given, Mapping):
        return given
    if callable(getattr(given, "json_schema", None)):  # a pydantic.TypeAdapter
        return given.json_schema()  # type: ignore[attr-defined]
    if isinstance(given, type) or hasattr(given, "__origin__"):
        return _SCHEMAS.get(given, lambda: _made_schema(given))
    return given


#: By type.
_SCHEMAS = WeakCache[Schema]()


def _made_schema(given: Any) -> Schema:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(given).json_schema()
    except PydanticUserError as error:
        first = str(error).partition("\n")[0]
        raise SettingsError(f"prompt(...): response_schema={given!r} has no JSON schema: {first}") from None


class _Copy:
    def __init__(self, schema: Schema, dialect: Dialect) -> None:
        self._root = schema
        self._dialect = dialect

    def whole(self) -> dict[str, Any]:
        root = self._root
        if "$ref" in root:  # a recursive model; the outermost schema must be an object itself
            root = {
                **self._target(root["$ref"]),
                **{name: root[name] for name in _DEFINITIONS if name in root},
            }
        copy = self._schema(root, "the schema")
        if self._dialect.all_required and copy.get("type") != "object":
            raise NotStrict("the schema is not that of an object")
        self._check_size(copy)
        return copy

    def _check_size(self, copy: Schema) -> None:
        dialect = self._dialect
        if not dialect.recursive and _refers_to_itself(copy):
            raise NotStrict("the schema refers to itself")
        limits = {
            "levels": (dialect.deepest, _depth(copy)),
            "properties": (dialect.most_properties, _count(copy, "properties")),
            "values": (dialect.most_values, _count(copy, "enum")),
        }
        for name, (most, found) in limits.items():
            if most is not None and found > most:
                raise NotStrict(f"the schema has {found:,} {name}, and {most:,} are taken")

    def _schema(self, schema: object, place: str) -> dict[str, Any]:
        if not isinstance(schema, Mapping) or not schema:
            raise NotStrict(f"{place} accepts anything")
        self._check_place(schema, place)
        definitions = {name: self._each(schema[name], name) for name in _DEFINITIONS if name in schema}
        if "$ref" in schema:
            return {**definitions, "$ref": schema["$ref"]}
        whole = schema.get("allOf")
        if isinstance(whole, Sequence) and len(whole) == 1 and isinstance(whole[0], Mapping):
            # pydantic's way to describe a reference
            return self._schema({**{k: v for k, v in schema.items() if k != "allOf"}, **whole[0]}, place)
        taken = self._taken(schema)
        copy = {**definitions, **{k: v for k, v in schema.items() if k in taken}}
        said = {k: v for k, v in schema.items() if k not in taken and k not in _STRUCTURE}
        for name in ("anyOf", "oneOf", "allOf"):
            if name in schema:
                copy |= self._several(name, schema[name], place)
        kinds = _kinds(schema)
        if "object" in kinds:
            copy |= self._object(schema, place)
        if "array" in kinds:
            copy["items"] = self._schema(schema.get("items"), f"{place}.items")
        if not kinds and not {"enum", "const", "anyOf", "allOf"} & copy.keys():
            raise NotStrict(f"{place} accepts anything")
        return _described(copy, said)

    def _check_place(self, schema: Schema, place: str) -> None:
        for keyword in _UNSAYABLE:
            if keyword in schema:
                raise NotStrict(f"{place} has `{keyword}`")
        if not str(schema.get("$ref", "#")).startswith("#"):
            raise NotStrict(f"{place} refers to {schema['$ref']}, which is not in the schema")
        if not self._dialect.structured_enums and any(map(_is_structure, schema.get("enum", ()))):
            raise NotStrict(f"{place} has objects or lists in its `enum`")

    def _taken(self, schema: Schema) -> set[str]:
        """The keywords that can be sent as they are."""
        taken = set(self._dialect.keywords)
        if schema.get("format") in self._dialect.formats:
            taken.add("format")
        least = self._dialect.least_items
        if least is not None and schema.get("minItems") not in least:
            taken.discard("minItems")
        return taken

    def _several(self, name: str, schemas: Sequence[object], place: str) -> dict[str, Any]:
        """One of several schemas, or all of them; ``oneOf`` is no keyword of any strict mode."""
        if name == "allOf" and not self._dialect.all_of:
            raise NotStrict(f"{place} has `allOf`")
        copies = [self._schema(each, f"{place}.{name}[{i}]") for i, each in enumerate(schemas)]
        return {"allOf" if name == "allOf" else "anyOf": copies}

    def _object(self, schema: Schema, place: str) -> dict[str, Any]:
        properties = schema.get("properties")
        if schema.get("additionalProperties", False) is not False or not isinstance(properties, Mapping):
            raise NotStrict(f"{place} is an object with free keys")
        required = list(schema.get("required", ()))
        if self._dialect.all_required:
            for name, each in properties.items():
                if name not in required and not self._takes_null(each):
                    raise NotStrict(f"{place}.{name} is optional and cannot be null")
            required = list(properties)
        return {
            "properties": self._each(properties, place),
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }

    def _each(self, schemas: Mapping[str, Any], place: str) -> dict[str, Any]:
        return {name: self._schema(each, f"{place}.{name}") for name, each in schemas.items()}

    def _takes_null(self, schema: object) -> bool:
        return isinstance(schema, Mapping) and (
            "null" in _kinds(schema)
            or None in schema.get("enum", ())
            or any(map(self._takes_null, (*schema.get("anyOf", ()), *schema.get("oneOf", ()))))
        )

    def _target(self, reference: str) -> Schema:
        """What a reference within the schema means."""
        found: Any = self._root
        for part in reference.removeprefix("#/").split("/"):
            found = found.get(part) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            raise NotStrict(f"the schema refers to {reference}, which is not in it")
        return found


def _is_structure(value: object) -> bool:
    return isinstance(value, (Mapping, list))


def _inner(schema: object) -> list[object]:
    """What stands inside of a schema, the definitions aside."""
    if isinstance(schema, Mapping):
        return [value for name, value in schema.items() if name not in (*_DEFINITIONS, "enum", "const")]
    return list(schema) if isinstance(schema, list) else []


def _count(schema: object, keyword: str) -> int:
    """How many properties, or values of enums, a schema has in all its places."""
    own = len(schema[keyword]) if isinstance(schema, Mapping) and keyword in schema else 0
    inside = list(schema.values()) if isinstance(schema, Mapping) else _inner(schema)
    return own + sum(_count(each, keyword) for each in inside)


def _depth(schema: object) -> int:
    """Levels of objects and lists, those of references aside."""
    own = isinstance(schema, Mapping) and bool(_kinds(schema) & {"object", "array"})
    return own + max(map(_depth, _inner(schema)), default=0)


def _references(schema: object) -> set[str]:
    """The definitions that a schema refers to."""
    own = (
        {str(schema["$ref"]).rpartition("/")[2]}
        if isinstance(schema, Mapping) and "$ref" in schema
        else set()
    )
    return own.union(*map(_references, _inner(schema)))


def _refers_to_itself(root: Schema) -> bool:
    """Whether following the references of a schema comes back to one of them."""
    uses: dict[str, set[str]] = {}
    for name in _DEFINITIONS:
        uses |= {key: _references(each) for key, each in root.get(name, {}).items()}
    for start in uses:
        seen, todo = set[str](), list(uses[start])
        while todo:
            found = todo.pop()
            if found == start:
                return True
            if found not in seen:
                seen.add(found)
                todo += uses.get(found, ())
    return False


_DEFINITIONS = ("$defs", "definitions")

#: What the copy treats by itself, and what tells a model nothing.
_STRUCTURE = frozenset(
    {
        *_DEFINITIONS,
        "$schema",
        "$id",
        "anyOf",
        "oneOf",
        "allOf",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "discriminator",
    }
)


def _kinds(schema: Schema) -> frozenset[str]:
    """The types that a schema names, or that its keywords are about."""
    named = schema.get("type", ())
    if named:
        return frozenset([named] if isinstance(named, str) else named)
    return frozenset(
        kind for keyword, kind in (("properties", "object"), ("items", "array")) if keyword in schema
    )


def _described(copy: dict[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """`copy` with keywords that it cannot hold in its description: the model may keep to them."""
    words = ", ".join(f"{keyword}: {value}" for keyword, value in said.items() if value is not None)
    if words:
        copy["description"] = "\n\n".join([*filter(None, [copy.get("description")]), f"{{{words}}}"])
    return copy
