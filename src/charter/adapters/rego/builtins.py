"""The functions that policies may call: Rego's own, as far as the engine has them.

Source: the language's reference (name and number of arguments) and the engine, which
`tests/adapters/rego/test_profile.py` asks for each of them.
"""

from __future__ import annotations

from typing import Final

_BY_ARITY: Final = {
    1: (
        "abs array.reverse base64.decode base64.encode base64.is_valid base64url.decode"
        " base64url.encode base64url.encode_no_pad bits.negate ceil count floor glob.quote_meta"
        " hex.decode hex.encode intersection is_array is_boolean is_null is_number is_object"
        " is_set is_string json.is_valid json.marshal json.unmarshal json.verify_schema lower max"
        " min net.cidr_expand net.cidr_is_valid object.keys object.union_n product regex.is_valid"
        " round semver.is_valid sort strings.reverse sum time.clock time.date time.format"
        " time.parse_duration_ns time.parse_rfc3339_ns time.weekday to_number trace trim_space"
        " type_name union units.parse units.parse_bytes upper urlquery.decode"
        " urlquery.decode_object urlquery.encode urlquery.encode_object uuid.parse walk"
        " yaml.is_valid yaml.marshal yaml.unmarshal"
    ),
    2: (
        "array.concat bits.and bits.lsh bits.or bits.rsh bits.xor concat contains endswith"
        " format_int graph.reachable graph.reachable_paths indexof indexof_n json.filter"
        " json.marshal_with_options json.match_schema json.patch json.remove net.cidr_contains"
        " numbers.range object.filter object.remove object.subset object.union regex.match"
        " regex.split semver.compare split sprintf startswith strings.any_prefix_match"
        " strings.any_suffix_match strings.count strings.replace_n time.diff time.parse_ns trim"
        " trim_left trim_prefix trim_right trim_suffix"
    ),
    3: (
        "array.slice glob.match numbers.range_step object.get regex.find_all_string_submatch_n"
        " regex.find_n regex.replace replace substring"
    ),
    4: "regex.template_match time.add_date",
}

ARITY: Final[dict[str, int]] = {
    name: count for count, names in _BY_ARITY.items() for name in names.split()
}
"""Number of arguments by name; `print` takes any number and is not among them."""

DEPRECATED: Final[dict[str, str]] = {
    "all": "every x in XS { x }",
    "any": "some x in XS; x",
    "cast_array": "[x | some x in XS]",
    "cast_boolean": "is_boolean(x)",
    "cast_null": "is_null(x)",
    "cast_object": "is_object(x)",
    "cast_set": "{x | some x in XS}",
    "cast_string": "is_string(x)",
    "net.cidr_overlap": "net.cidr_contains",
    "re_match": "regex.match",
    "set_diff": "A - B",
}
"""Functions that Rego has taken out of the language, with what to write in their place."""

TEXT_ARGUMENTS: Final[dict[str, tuple[int, ...]]] = {
    **dict.fromkeys(
        ("contains", "endswith", "startswith", "trim", "trim_prefix", "trim_suffix", "split"),
        (0, 1),
    ),
    **dict.fromkeys(
        ("lower", "upper", "trim_space", "time.parse_rfc3339_ns", "semver.is_valid"), (0,)
    ),
    **dict.fromkeys(("trim_left", "trim_right", "indexof", "semver.compare"), (0, 1)),
    "replace": (0, 1, 2),
    "substring": (0,),
    "regex.match": (0, 1),
    "units.parse": (0,),
    "units.parse_bytes": (0,),
}
"""Which arguments must be texts; the engine fails on anything else."""
