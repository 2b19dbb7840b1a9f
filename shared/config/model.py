"""The model of the configuration: which settings a flow has, what each may be, what it means, and an example of it.

It is the one source: what is read (``integrations.py``), the schema for editors and the reference in the documents
(``tests/config_documents.py``) follow from it. A setting is a field here; in JSON its name is in camelCase. How flows
are checked against each other is ``flows.py``.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAliasType, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from shared.config.alert_route import AlertRoute
from shared.config.app_settings import EXAMPLE_DRIVE, EXAMPLE_URL
from shared.config.kinds import (
    SETTING_PATTERN,
    Addresses,
    Boolean,
    Company,
    DataProject,
    Drive,
    EnvironmentUrl,
    Folder,
    FolderOrEmpty,
    Name,
    Note,
    Pattern,
    Separator,
    Shorthand,
    WebhookUrl,
    Whole,
)
from shared.config.lanes import lane_name
from shared.escapes import json_text
from shared.runs.states import Direction

MAX_EVERY_S: Final = 7 * 24 * 3600


COMPANY: Final = "{company}"  # in a data project's name: the company of the file


def _json_name(name: str) -> str:
    return to_camel(name.rstrip("_"))  # from_: Python has a word `from`


class Part(BaseModel):
    """An object of the configuration. Its fields are read by their names in JSON, and set by their own."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=_json_name,
        populate_by_name=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,  # an input may be a secret
    )


class CompanyFixed(Part):
    """All files go into one company."""

    from_: Literal["fixed"] = Field(default="fixed", description="One company for all files.")
    company: Company = Field(description="The company (legal entity).", examples=["USMF"])


class CompanyFromName(Part):
    """A part of the file's name is the company."""

    from_: Literal["name"] = Field(default="name", description="A part of the file's name.")
    separator: Separator = Field(default="_", description="What stands between the parts of the name.", examples=["#"])
    position: Annotated[int, Whole(1, 20)] = Field(
        default=1,
        description="Which of the parts is the company; the first is 1. The ending `.zip` does not count.",
        examples=[2],
    )


class CompanyFromFolder(Part):
    """The name of the sub-folder of Input that the file is in is the company."""

    from_: Literal["folder"] = Field(
        default="folder",
        description="The sub-folder of the Input folder that the file is in: `Input/USMF`. Processing, Success and "
        "Error keep the sub-folder. A file directly in Input is refused.",
    )


type CompanyRule = Annotated[
    Annotated[CompanyFixed | CompanyFromName | CompanyFromFolder, Field(discriminator="from_")],
    Shorthand(str, "fixed", "company", {"type": "string", "pattern": rf"^[A-Za-z0-9]{{0,4}}$|{SETTING_PATTERN}"}),
]


class CompaniesListed(Part):
    """The companies are listed in the configuration."""

    from_: Literal["list"] = Field(default="list", description="The companies of a list.")
    companies: tuple[Company, ...] = Field(
        min_length=1, description="The companies, at least one.", examples=[["USMF", "DEMF"]]
    )


class CompaniesOfFo(Part):
    """The companies are those that F&O has."""

    from_: Literal["LegalEntities"] = Field(
        default="LegalEntities",
        description="All companies that F&O has, which the app asks for (entity `LegalEntities`) and remembers for an "
        "hour.",
    )


type Companies = Annotated[
    Annotated[CompaniesListed | CompaniesOfFo, Field(discriminator="from_")],
    Shorthand(list, "list", "companies", {"type": "array", "items": {"type": "string"}}),
]


class ProjectFixed(Part):
    """One data project for all files, or one for each company."""

    from_: Literal["fixed"] = Field(default="fixed", description="One data project for all files.")
    data_project: DataProject = Field(
        description="The data project; `{company}` in it stands for the file's company.",
        examples=["Customers {company}"],
    )


class ProjectFromManifest(Part):
    """The package names its data project."""

    from_: Literal["manifest"] = Field(
        default="manifest", description="The one that the package's manifest names (`DefinitionGroupName`)."
    )


class ProjectPattern(Part):
    """The data project of the files whose names match a pattern."""

    files: Pattern = Field(
        description="A pattern of file names: `*` stands for any characters, `?` for one; case does not matter.",
        examples=["*_Customers_*"],
    )
    data_project: DataProject = Field(
        description="The data project of these files; `{company}` in it stands for the file's company.",
        examples=["Customers {company}"],
    )


class ProjectFromName(Part):
    """The file's name says which data project it is for."""

    from_: Literal["name"] = Field(default="name", description="By a pattern of the file's name.")
    patterns: tuple[ProjectPattern, ...] = Field(
        min_length=1,
        description="The patterns, at least one; the first that matches decides. A file that matches none is refused.",
        examples=[[{"files": "*_Customers_*", "dataProject": "Customers {company}"}]],
    )


type ProjectRule = Annotated[
    Annotated[ProjectFixed | ProjectFromManifest | ProjectFromName, Field(discriminator="from_")],
    Shorthand(str, "fixed", "dataProject", {"type": "string", "pattern": r"^(\S(.*\S)?)?$", "maxLength": 128}),
]


def _sibling(name: str) -> Any:
    """Return what gives a folder of that name beside the Input folder."""

    def beside(data: Mapping[str, Any]) -> str:
        return f"{data.get('input_folder', '').rpartition('/')[0]}/{name}"

    return beside


class Flow(Part):
    """What both directions have."""

    name: Name = Field(
        description="A name for people and logs, unique among all imports and exports. Rename a flow only while none "
        "of its files or exports is under way: they are found by it.",
        examples=["customers"],
    )
    note: Note = Field(
        default="",
        description="A remark for those who read the configuration; the app does nothing with it.",
        examples=["CRM"],
    )
    environment_url: EnvironmentUrl = Field(
        description="The address of the F&O environment. Left out or empty: that of `defaults`, else the setting "
        "`FO_URL`.",
        examples=[EXAMPLE_URL],
    )
    drive: Drive = Field(
        description="The OneDrive or document library: `drives/<drive id>`, `users/<user principal name>/drive` or "
        "`me/drive`. Left out or empty: that of `defaults`, else the setting `ONEDRIVE_DRIVE`.",
        examples=[EXAMPLE_DRIVE],
    )


class Alerted(Part):
    """Who is told of a flow's problems, if it is not who is told of all others'."""

    alert_recipient: Addresses = Field(
        default="",
        description="Who gets an e-mail about this flow: one address, or several with `;` between them. Left out or "
        "empty: the setting `ALERT_RECIPIENT`.",
        examples=["finance@contoso.com"],
    )
    alert_teams_url: WebhookUrl | None = Field(
        default=None,
        description="The Teams workflow for this flow's alerts. Whoever has the address can post, so rather put it "
        "into an app setting and name that here: `%NAME%`. Left out or empty: the setting `ALERT_TEAMS_URL`.",
        examples=["%FINANCE_TEAMS_URL%"],
    )
    alert_webhook_url: WebhookUrl | None = Field(
        default=None,
        description="The webhook for this flow's alerts, as for `alertTeamsUrl`. Left out or empty: the setting "
        "`ALERT_WEBHOOK_URL`.",
        examples=["%FINANCE_WEBHOOK_URL%"],
    )

    @property
    def alerts(self) -> AlertRoute:
        """Where its alerts go; what it leaves open is the app's own."""
        return AlertRoute(
            recipient=self.alert_recipient, teams_url=self.alert_teams_url, webhook_url=self.alert_webhook_url
        )


class Reserve(Part):
    """What an import has to itself in its environment while F&O works on it, besides its data project."""

    entities: Boolean = Field(
        default=False,
        description="Whether no other import of one of the package's entities runs at the same time, whatever its data "
        "project. It keeps apart imports whose flows all have it: set it in `defaults`.",
        examples=[True],
    )
    excel: Boolean = Field(
        default=False,
        description="Whether a package with an Excel file is imported only while F&O imports no other one: F&O has one "
        "Excel lock (DMF2039). It keeps apart imports whose flows all have it: set it in `defaults`.",
        examples=[True],
    )


class ImportFlow(Alerted, Flow):
    """One Input folder whose packages go into one F&O environment. Folders are absolute paths in the drive."""

    input_folder: Folder = Field(
        description="The folder that is watched. Each import needs its own.",
        examples=["Integrations/Customers/Input"],
    )
    processing_folder: FolderOrEmpty = Field(
        default_factory=_sibling("Processing"),
        description="Where a file is while F&O works on it. Left out: `Processing` beside the Input folder.",
        examples=["Integrations/Customers/Processing"],
    )
    success_folder: FolderOrEmpty = Field(
        default_factory=_sibling("Success"),
        description="Where a file goes if all its rows were imported. Left out: `Success` beside the Input folder.",
        examples=["Integrations/Customers/Success"],
    )
    error_folder: FolderOrEmpty = Field(
        default_factory=_sibling("Error"),
        description="Where a file goes if it was refused or failed, with its report. Left out: `Error` beside the "
        "Input folder.",
        examples=["Integrations/Customers/Error"],
    )
    data_project: ProjectRule = Field(
        default=ProjectFromManifest(),
        description="The data project to import under: a name, or an object that says where the name comes from. Left "
        "out or empty: the one that the package's manifest names.",
        examples=["Asset-Major-Types"],
    )
    company: CompanyRule = Field(
        default=CompanyFromName(),
        description="The company (legal entity) to import into: its id, or an object that says where it comes from. "
        "Left out or empty: what stands before the first underscore of the file's name.",
        examples=["USMF"],
    )
    companies: Companies | None = Field(
        default=None,
        description="The companies that files of this flow may be for: a list of ids, or an object. A file for another "
        "one is refused before it is uploaded. Left out: any.",
        examples=[["USMF", "DEMF"]],
    )
    overwrite: Boolean = Field(
        default=True,
        description="Whether F&O may replace the data project's definition by the package's; `false` for composite "
        "entities. Does not affect rows.",
        examples=[True],
    )
    strict_order: Boolean = Field(
        default=False,
        description="Whether a file that cannot go on stops its lane, instead of being passed by the files behind it "
        "after three minutes.",
        examples=[True],
    )
    reserve: Reserve = Field(
        default=Reserve(),
        description="What an import waits for besides its data project, so that F&O never runs two of its kind at "
        "the same time. Exports wait for their data project alone.",
        examples=[{"entities": True}],
    )

    @property
    def only_company(self) -> str:
        """The company of all its files; "" if each file says which."""
        return self.company.company if isinstance(self.company, CompanyFixed) else ""

    @property
    def named_companies(self) -> tuple[str, ...]:
        """The companies that the configuration names for it."""
        listed = self.companies.companies if isinstance(self.companies, CompaniesListed) else ()
        return (*((self.only_company,) if self.only_company else ()), *listed)

    @property
    def only_project(self) -> str:
        """The data project of all its files; "" if each file, or its company, says which."""
        project = self.data_project.data_project if isinstance(self.data_project, ProjectFixed) else ""
        if COMPANY in project and self.only_company:
            return project.replace(COMPANY, self.only_company)
        return "" if COMPANY in project else project

    @property
    def lane(self) -> str:
        """The name under which runs of one data project of one environment queue up."""
        return lane_name(Direction.IMPORT, self.environment_url, self.only_project, self.name)

    @property
    def filed_in(self) -> Mapping[str, str]:
        """The folders into which the app moves files, by their names in JSON."""
        return {
            "processingFolder": self.processing_folder,
            "successFolder": self.success_folder,
            "errorFolder": self.error_folder,
        }

    @property
    def folders(self) -> tuple[str, ...]:
        """All its folders."""
        return (self.input_folder, *self.filed_in.values())


class ExportFlow(Alerted, Flow):
    """One data project whose exports go into one OneDrive folder."""

    output_folder: Folder = Field(
        description="The folder that packages are put into.", examples=["Integrations/Customers/Output"]
    )
    data_project: DataProject = Field(
        description="The export project in F&O. It must exist.", examples=["Asset-Major-Types"]
    )
    company: Company = Field(description="The company (legal entity) to export from.", examples=["USMF"])
    every_seconds: Annotated[int, Whole(0, MAX_EVERY_S, "seconds")] = Field(
        default=0,
        description="The least number of seconds between two starts. 0: at every tick of `OUTBOUND_SCHEDULE`.",
        examples=[3600],
    )

    @property
    def lane(self) -> str:
        """The name under which exports of this data project queue up."""
        return lane_name(Direction.EXPORT, self.environment_url, self.data_project, self.name)

    @property
    def only_company(self) -> str:
        """The company of all its packages."""
        return self.company

    @property
    def named_companies(self) -> tuple[str, ...]:
        """The companies that the configuration names for it."""
        return (self.company,)

    @property
    def folders(self) -> tuple[str, ...]:
        """All its folders."""
        return (self.output_folder,)


class Document(Part):
    """What INTEGRATIONS holds. ``defaults`` is worked into the flows before the document is read."""

    imports: tuple[ImportFlow, ...] = Field(
        default=(), description="One Input folder each. Two imports of one data project and environment take turns."
    )
    exports: tuple[ExportFlow, ...] = Field(
        default=(), description="One data project each. Two exports of one environment cannot share a data project."
    )


# A flow's settings that make it the flow that it is: they have no default for all flows.
NOT_FOR_ALL: Final = frozenset({"name", "note", "inputFolder", "processingFolder", "successFolder", "errorFolder"})


def names_of(part: type[Part]) -> tuple[str, ...]:
    """Return the names in JSON of an object's settings."""
    return tuple(str(field.alias) for field in part.model_fields.values())


FLOW_KINDS: Final[Mapping[str, type[ImportFlow | ExportFlow]]] = {"imports": ImportFlow, "exports": ExportFlow}


def words_of(part: type[Part]) -> tuple[str, ...]:
    """Return what ``from`` is in an object that is one of a choice: one word. () if it is none."""
    field = part.model_fields.get("from_")
    return get_args(field.annotation) if field else ()


def parts_in(annotation: Any) -> tuple[type[Part], ...]:
    """Return the objects that a field may hold, itself or in a list."""
    if isinstance(annotation, TypeAliasType):
        annotation = annotation.__value__
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return (annotation,)
    return tuple(part for each in get_args(annotation) for part in parts_in(each))


def short_form_in(annotation: Any) -> str:
    """Return what may stand for an object of a choice, in words: "text", "a list"; "" if nothing may."""
    if isinstance(annotation, TypeAliasType):
        annotation = annotation.__value__
    short = next((each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Shorthand)), None)
    if short:
        return "text" if short.kind is str else "a list"
    return next((found for each in get_args(annotation) if (found := short_form_in(each))), "")


def example_of(field: FieldInfo) -> str:
    """Return the example of a setting, as it stands in JSON but for the quotes of a text."""
    example = field.examples[0] if field.examples else ""
    return example if isinstance(example, str) else json_text(example)


def all_parts(part: type[Part]) -> frozenset[type[Part]]:
    """Return an object of the model and all that are in it."""
    inner = [each for field in part.model_fields.values() for each in parts_in(field.annotation)]
    return frozenset({part}).union(*map(all_parts, inner))
