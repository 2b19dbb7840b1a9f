"""What GET /data/$metadata answers: the entity sets and the actions that the simulator has, in OData's CSDL.

https://docs.oasis-open.org/odata/odata-csdl-xml/v4.01/; clients read from it which actions there are and how to call
them. What F&O has besides is not in it.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import quoteattr

from local_cloud.finance_operations.actions import ACTIONS, Action
from local_cloud.finance_operations.executions import Operation, Status
from local_cloud.finance_operations.odata import NAVIGATIONS

NAMESPACE: Final = "Microsoft.Dynamics.DataEntities"
ACTION_TYPE: Final = "DataManagementDefinitionGroup"
_EDM: Final[Mapping[type, str]] = {str: "Edm.String", bool: "Edm.Boolean", int: "Edm.Int32"}
_WHOLE_NUMBERS: Final = frozenset(
    {"ExecutionUnit", "LevelInExecutionUnit", "SequenceInLevel", "SequenceNumber", "NumberOfRowsToSkip"}
)
# The names of the members are documented; their numbers are not, so that none are told.
_ENUMS: Final[Mapping[str, Sequence[str]]] = {
    "DMFExecutionSummaryStatus": [str(each) for each in Status],
    "DMFOperationType": [str(each) for each in Operation],
}
_KEYS: Final[Mapping[str, Sequence[str]]] = {
    "DataManagementDefinitionGroups": ("Name",),
    "DataManagementDefinitionGroupDetails": ("DefinitionGroupId", "EntityName"),
    "DataManagementExecutionJobs": ("JobId",),
    "DataManagementExecutionJobDetails": ("DefinitionGroupId", "JobId", "EntityName"),
    "LegalEntities": ("LegalEntityId",),
}


def metadata(sets: Mapping[str, Sequence[str]]) -> str:
    """Return the document. sets: the names of the entity sets, each with the names of its properties, a key first."""
    enums = "".join(_enum(name, members) for name, members in _ENUMS.items())
    types = "".join(_entity_type(name, properties) for name, properties in sets.items())
    actions = "".join(_action(name, action) for name, action in ACTIONS.items())
    listed = "".join(
        f"<EntitySet Name={quoteattr(name)} EntityType={quoteattr(f'{NAMESPACE}.{type_of(name)}')}/>" for name in sets
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>'
        f'<Schema Namespace="{NAMESPACE}" xmlns="http://docs.oasis-open.org/odata/ns/edm">'
        f'{enums}{types}{actions}<EntityContainer Name="Resources">{listed}</EntityContainer>'
        "</Schema></edmx:DataServices></edmx:Edmx>"
    )


def type_of(entity_set: str) -> str:
    """Return the entity type of a set: LegalEntities has LegalEntity."""
    return f"{entity_set[:-3]}y" if entity_set.endswith("ies") else entity_set.removesuffix("s")


def _enum(name: str, members: Sequence[str]) -> str:
    return f'<EnumType Name="{name}">{"".join(f'<Member Name="{each}"/>' for each in members)}</EnumType>'


def _entity_type(entity_set: str, properties: Sequence[str]) -> str:
    keys = _KEYS.get(entity_set, properties[:1])
    refs = "".join(f"<PropertyRef Name={quoteattr(key)}/>" for key in keys)
    listed = "".join(
        f"<Property Name={quoteattr(each)} Type={quoteattr(_type_of_property(each))}/>" for each in properties
    )
    more = _navigation(entity_set)
    return f"<EntityType Name={quoteattr(type_of(entity_set))}><Key>{refs}</Key>{listed}{more}</EntityType>"


def _navigation(entity_set: str) -> str:
    if entity_set not in NAVIGATIONS:
        return ""
    name, target, is_many = NAVIGATIONS[entity_set]
    kind = f"{NAMESPACE}.{type_of(target)}"
    return f'<NavigationProperty Name="{name}" Type="{f"Collection({kind})" if is_many else kind}"/>'


def _type_of_property(name: str) -> str:
    if name == "OperationType":
        return f"{NAMESPACE}.DMFOperationType"
    if name.endswith("Count") or name in _WHOLE_NUMBERS:
        return "Edm.Int32"
    return "Edm.DateTimeOffset" if name.endswith("DateTime") else "Edm.String"


def _action(name: str, action: Action) -> str:
    parameters = "".join(
        f'<Parameter Name="{each}" Type="{_EDM[kind]}"{"" if each in action.required else ' Nullable="true"'}/>'
        for each, kind in {**action.required, **action.optional}.items()
    )
    bound = f'<Parameter Name="{ACTION_TYPE}" Type="Collection({NAMESPACE}.{ACTION_TYPE})"/>'
    returned = f'<ReturnType Type="{action.returns}"/>' if action.returns else ""
    return f'<Action Name="{name}" IsBound="true">{bound}{parameters}{returned}</Action>'
