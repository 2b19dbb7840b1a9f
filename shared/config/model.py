"""The model of the configuration: which settings a flow has, what each may be, what it means, and an example of it.

It is the one source: what is read (``integrations.py``), the schema for editors and the reference in the documents
(``tests/config_documents.py``) follow from it. A setting is a field here; in JSON its name is in camelCase. How flows
are checked against each other is ``flows.py``.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAliasType, get_args, get_origin

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
    DaysOfMonth,
    Drive,
    EnvironmentUrl,
    Folder,
    FolderOrEmpty,
    Hours,
    Name,
    Note,
    OneOf,
    Pattern,
    Separator,
    Shorthand,
    TimeZone,
    WebhookUrl,
    Weekdays,
    Whole,
)
from shared.config.lanes import lane_name
from shared.config.off_times import UTC_NAME, HoursOfDay
from shared.config.values import matches_name
from shared.escapes import json_text
from shared.runs.states import Direction

MAX_EVERY_S: Final = 7 * 24 * 3600
MAX_AGE_S: Final = 24 * 3600
MAX_STUCK_MINUTES: Final = 7 * 24 * 60


COMPANY: Final = "{company}"  # in a data project's name: the company of the file


def _json_name(name: str) -> str:
    return to_camel(name.rstrip("_"))  # from_: Python has a word `from`


class Part(BaseModel):
    """An object of the configuration. Its fields are read by their names in JSON, and set by their own."""

    model_config = ConfigDict(
        defer_build=True,  # a process builds what it validates: the document, and a flow that a record has saved
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


class Files(Part):
    """Which files of the Input folder an import takes, and when."""

    include: tuple[Pattern, ...] = Field(
        default=("*",),
        min_length=1,
        description="Patterns of file names, at least one: `*` stands for any characters, `?` for one; case does not "
        "matter. The import takes the files that match one of them. Left out: all files.",
        examples=[["*_Customers_*.zip"]],
    )
    exclude: tuple[Pattern, ...] = Field(
        default=(),
        description="Patterns of the names of files that the import does not take, although `include` matches.",
        examples=[["*_draft.zip"]],
    )
    minimum_age_seconds: Annotated[int, Whole(0, MAX_AGE_S, "seconds")] = Field(
        default=0,
        description="The app takes a file only if it was last modified at least so many seconds ago.",
        examples=[60],
    )

    @property
    def all(self) -> bool:
        """Whether they leave no file to another import."""
        return not self.exclude and any(set(pattern) == {"*"} for pattern in self.include)

    def match(self, file_name: str) -> bool:
        """Return whether a file is one of them by its name."""
        return matches_name(file_name, self.include) and not matches_name(file_name, self.exclude)


class PartialFiling(StrEnum):
    """Where a file goes if only some of its rows were imported."""

    ERROR = "error"
    SUCCESS = "success"
    FOLDER = "folder"


class DateFolders(StrEnum):
    """Which folders by date are made below those that files are filed in."""

    NONE = "none"
    MONTH = "year/month"
    DAY = "year/month/day"


class Filing(Part):
    """Into which folder a file is moved once its outcome is known."""

    partially_succeeded: Annotated[PartialFiling, OneOf(tuple(PartialFiling), PartialFiling)] = Field(
        default=PartialFiling.ERROR,
        description="Where a file goes if only some of its rows were imported: `error` (the Error folder), `success` "
        "(the Success folder) or `folder` (`partialFolder`). Its report lies beside it, and an alert is sent, in each "
        "case. `strictOrder` stops the lane after it in each case, too.",
        examples=["folder"],
    )
    date_folders: Annotated[DateFolders, OneOf(tuple(DateFolders), DateFolders)] = Field(
        default=DateFolders.NONE,
        description="Folders by date below Success, Error and `partialFolder`: `none`, `year/month` "
        "(`Success/2026/11`) or `year/month/day` (`Success/2026/11/30`). The date is that on which the app learned the "
        "outcome, in UTC.",
        examples=["year/month"],
    )


class Counts(Part):
    """What follows from the rows that F&O counted."""

    warn_if_zero_rows: Boolean = Field(
        default=False,
        description="Whether an alert is sent if an import succeeded and F&O created and updated no row; with "
        "`execute` `false`: if no row reached staging.",
        examples=[True],
    )


class OffTime(Part):
    """A time in which no file of a flow is imported. What is given must all apply."""

    days: DaysOfMonth = Field(
        default=frozenset(),
        description="Days of the month: one, a range, or several with `,` between them. There is no word for the last "
        "day of a month: `28-31` contains it. Left out or empty: all.",
        examples=["28-31"],
    )
    weekdays: Weekdays = Field(
        default=frozenset(),
        description="Days of the week (`mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`): one, a range, or several with "
        "`,` between them. Left out or empty: all.",
        examples=["sat,sun"],
    )
    hours: Hours = Field(
        default=HoursOfDay(0, 24 * 60),
        description="From when until when, as `HH:MM-HH:MM`. If the end comes first, it is on the "
        "following day: `18:00-06:00` on `fri` ends on Saturday. Left out or empty: the whole day.",
        examples=["18:00-06:00"],
    )
    time_zone: TimeZone = Field(
        default=UTC_NAME,
        description="The time zone of days and hours, by its IANA name; clocks that are turned back or forward count. "
        "Names of Windows, such as `W. Europe Standard Time`, are not known.",
        examples=["Europe/Berlin"],
    )


MAX_PAUSE_S: Final = 3600
BY_ARRIVAL: Final = "arrival"
BY_NAME: Final = "name"


class Order(Part):
    """In which order files are taken up. All imports that share a lane have the same."""

    by: Annotated[str, OneOf((BY_ARRIVAL, BY_NAME))] = Field(
        default=BY_ARRIVAL,
        description="`arrival`: the oldest file first (the time of its last change), those of one second by name. "
        "`name`: by the file's name, character by character, whatever its case; files of one name by arrival. A file "
        "that is under way is never interrupted.",
        examples=[BY_NAME],
    )
    pause_seconds: Annotated[int, Whole(0, MAX_PAUSE_S, "seconds")] = Field(
        default=0,
        description="The least number of seconds between the end of one file's run and the start of the next one.",
        examples=[60],
    )
    after: tuple[Name, ...] = Field(
        default=(),
        description="Imports that go first, by their names: a file waits while any of them, or any import that goes "
        "before those, has a file in Input or an open run. A file of theirs that has failed keeps nobody waiting, "
        "unless `order.afterSuccess` is `true`.",
        examples=[["groups"]],
    )
    after_success: Boolean = Field(
        default=False,
        description="Whether a file also waits for each file of the imports in `order.after` that has failed, was "
        "refused, or was imported in part (unless `filing.partiallySucceeded` is `success`). It goes on once a file of "
        "that name and sub-folder has succeeded, or a person skips the failed one on its page.",
        examples=[True],
    )


# What happens to a package whose content was imported before.
WARN, REFUSE, ALLOW = "warn", "refuse", "allow"
type Duplicates = Annotated[str, OneOf((WARN, REFUSE, ALLOW))]


def _sibling(name: str) -> Any:
    """Return what gives a folder of that name beside the Input folder."""

    def beside(data: Mapping[str, Any]) -> str:
        return f"{data.get('input_folder', '').rpartition('/')[0]}/{name}"

    return beside


class Flow(Part):
    """What both directions have."""

    name: Name = Field(
        description="A name for people and logs, unique among all imports and exports. A flow may be renamed: files "
        "and exports that were taken up end under the old name.",
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
    stuck_after_minutes: Annotated[int, Whole(1, MAX_STUCK_MINUTES, "minutes")] | None = Field(
        default=None,
        description="Minutes after which an alert is sent that an execution in F&O does not end, or that a file waits "
        "for what another one has. Left out: the setting `IMPORT_STUCK_AFTER_MINUTES` or `EXPORT_STUCK_AFTER_MINUTES`.",
        examples=[600],
    )

    def stuck_after(self, else_after: timedelta) -> timedelta:
        """Return after which time a person is told; else_after: if the flow does not say."""
        return timedelta(minutes=self.stuck_after_minutes) if self.stuck_after_minutes else else_after


class Alerted(Part):
    """Who is told of a flow's problems, if it is not who is told of all others'."""

    alert_recipient: Addresses = Field(
        default="",
        description="Who gets an e-mail about this flow: one address, or several with `;` between them. Left out or "
        "empty: the setting `ALERT_RECIPIENT`.",
        examples=["finance@contoso.com;controlling@contoso.com"],
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
        return AlertRoute(**{each.name: getattr(self, f"alert_{each.name}") for each in fields(AlertRoute)})


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


IMPORT_FROM_PACKAGE: Final = "ImportFromPackage"
IMPORT_FROM_PACKAGE_ASYNC: Final = "ImportFromPackageAsync"
MAX_THRESHOLD: Final = 2_147_483_647  # what an Edm.Int32 holds


class Synchronous(Part):
    """F&O answers once the package lies in staging."""

    name: Literal["ImportFromPackage"] = Field(
        default=IMPORT_FROM_PACKAGE,
        description="F&O answers once it has read the package, and says then if it refuses it.",
        examples=[IMPORT_FROM_PACKAGE],
    )


class Asynchronous(Part):
    """F&O answers at once, and reads the package later."""

    # What the arguments mean is documented nowhere. Observed: in code that calls the action; all of it sends all nine.
    name: Literal["ImportFromPackageAsync"] = Field(
        default=IMPORT_FROM_PACKAGE_ASYNC,
        description="F&O answers at once and reads the package later, so a large package keeps no import waiting. What "
        "is wrong with a package is an execution that fails.",
        examples=[IMPORT_FROM_PACKAGE_ASYNC],
    )
    fail_on_error: Boolean = Field(
        default=True,
        description="Sent as `failOnError`: whether F&O stops at the first error.",
        examples=[False],
    )
    run_async_without_batch: Boolean = Field(
        default=False,
        description="Sent as `runAsyncWithoutBatch`: whether F&O imports without its batch service. `false`: as with "
        "`ImportFromPackage`.",
        examples=[True],
    )
    threshold_to_run_in_batch: Annotated[int, Whole(0, MAX_THRESHOLD, "records")] = Field(
        default=0,
        description="Sent as `thresholdToRunInBatch`: the number of records above which F&O uses its batch service.",
        examples=[1000],
    )


_ACTIONS: Final = (IMPORT_FROM_PACKAGE, IMPORT_FROM_PACKAGE_ASYNC)
type Action = Annotated[
    Annotated[Synchronous | Asynchronous, Field(discriminator="name")],
    Shorthand(str, "", "name", {"type": "string", "enum": list(_ACTIONS)}),
]


class ImportFlow(Alerted, Flow):
    """One Input folder whose packages go into one F&O environment. Folders are absolute paths in the drive."""

    input_folder: Folder = Field(
        description="The folder that is watched. Several imports may share one if their `files` tell which files each "
        "of them takes; the first import that matches has the file.",
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
    unmatched_folder: FolderOrEmpty = Field(
        default="",
        description="Where the app moves a file that no import of the Input folder takes by its `files`, once it has "
        "been there for five minutes. Imports that share the Input folder share this one too. Left out: the file "
        "stays, and an alert reports it.",
        examples=["Integrations/Customers/Unmatched"],
    )
    files: Files = Field(
        default=Files(),
        description="Which files of the Input folder this import takes, and when. Left out: all files, at once.",
        examples=[{"include": ["*_Customers_*.zip"]}],
    )
    partial_folder: FolderOrEmpty = Field(
        default_factory=_sibling("Partial"),
        description="Where a file goes if only some of its rows were imported and `filing.partiallySucceeded` is "
        "`folder`. Left out: `Partial` beside the Input folder.",
        examples=["Integrations/Customers/Partial"],
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
        description="Whether no file may pass another. A file that cannot go on is waited for, instead of being passed "
        "after three minutes; and a file that did not succeed stops its lane, until a person runs it again, skips it "
        "or resumes the lane. All imports that share a lane have the same.",
        examples=[True],
    )
    execute: Boolean = Field(
        default=True,
        description="Whether F&O imports the rows. `false`: they only go to F&O's staging tables, where a person "
        "checks them and copies them to the target.",
        examples=[False],
    )
    filing: Filing = Field(
        default=Filing(),
        description="Where files go once their outcome is known.",
        examples=[{"dateFolders": "year/month"}],
    )
    counts: Counts = Field(
        default=Counts(),
        description="What follows from the rows that F&O counted.",
        examples=[{"warnIfZeroRows": True}],
    )
    result_file: Boolean = Field(
        default=False,
        description="Whether the app puts a result beside each file that it files, for the system that sent it: "
        "`NAME.zip.result.json`, with outcome, reason, counts and links.",
        examples=[True],
    )
    not_between: tuple[OffTime, ...] = Field(
        default=(),
        description="Times in which no file of this flow is submitted to F&O, such as the end of the month. All that "
        "an entry says must apply; several entries add up. Files that appear wait in Input, say so on their pages, and "
        "go on by themselves. Imports that share a lane must agree.",
        examples=[[{"days": "28-31", "hours": "18:00-06:00"}]],
    )
    order: Order = Field(
        default=Order(),
        description="The order in which files are taken up.",
        examples=[{"by": "name", "pauseSeconds": 60}],
    )
    duplicates: Duplicates = Field(
        default=WARN,
        description="What happens to a package that holds, byte for byte, what another run has imported into the same "
        "company and data project in the last 90 days. `warn`: it is imported, and an alert names the first run. "
        "`refuse`: it goes to Error. `allow`: nothing is compared. Run again is never refused.",
        examples=[REFUSE],
    )
    reserve: Reserve = Field(
        default=Reserve(),
        description="What an import waits for besides its data project, so that F&O never runs two of its kind at "
        "the same time. Exports wait for their data project alone.",
        examples=[{"entities": True}],
    )
    action: Action = Field(
        default=Synchronous(),
        description="The action of F&O that imports a package: its name, or an object with its arguments. "
        "Left out or empty: `ImportFromPackage`.",
        examples=[IMPORT_FROM_PACKAGE_ASYNC],
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
    def data_projects(self) -> tuple[str, ...]:
        """The data projects that its settings name; ``{company}`` is left in one if any company may stand there."""
        match self.data_project:
            case ProjectFixed(data_project=project):
                projects: tuple[str, ...] = (project,)
            case ProjectFromName(patterns=patterns):
                projects = tuple(each.data_project for each in patterns)
            case _:
                projects = ()
        companies = (self.only_company,) if self.only_company else self.named_companies or (COMPANY,)
        every = (project.replace(COMPANY, company) for project in projects for company in companies)
        return tuple(dict.fromkeys(every))

    @property
    def has_company_folders(self) -> bool:
        """Whether the sub-folders of Input are companies."""
        return isinstance(self.company, CompanyFromFolder)

    @property
    def has_many_lanes(self) -> bool:
        """Whether the lane of a file depends on its name or its sub-folder: each data project has one."""
        return not self.only_project and not isinstance(self.data_project, ProjectFromManifest)

    @property
    def lane(self) -> str:
        """The name under which runs of one data project of one environment queue up.

        If each file says its data project, those of which nobody knows it are here; see ``rules.lane_of``.
        """
        return lane_name(Direction.IMPORT, self.environment_url, self.only_project, self.name)

    @property
    def filed_in(self) -> Mapping[str, str]:
        """The folders into which the app moves files, by their names in JSON."""
        return {
            "processingFolder": self.processing_folder,
            "successFolder": self.success_folder,
            "errorFolder": self.error_folder,
            **({"unmatchedFolder": self.unmatched_folder} if self.unmatched_folder else {}),
            **({"partialFolder": self.partial_folder} if self._has_partial_folder else {}),
        }

    @property
    def _has_partial_folder(self) -> bool:
        return self.filing.partially_succeeded is PartialFiling.FOLDER

    @property
    def folders(self) -> tuple[str, ...]:
        """All its folders."""
        return (self.input_folder, *self.filed_in.values())


class ExportFlow(Alerted, Flow):
    """One data project whose exports go into one OneDrive folder."""

    output_folder: Folder = Field(
        description="The folder that packages are put into, as `PROJECT_COMPANY_YYYYMMDD-HHMMSS.zip` (UTC).",
        examples=["Integrations/Customers/Output"],
    )
    data_project: DataProject = Field(
        description="The export project in F&O, as it is: no `{company}`. It must exist.",
        examples=["Asset-Major-Types"],
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
        default=(),
        description="An Input folder each, or some files of one. Two imports of one data project and environment take "
        "turns.",
        examples=[[{"name": "customers", "inputFolder": "Integrations/Customers/Input"}]],
    )
    exports: tuple[ExportFlow, ...] = Field(
        default=(),
        description="One data project each. Two exports of one environment cannot share a data project.",
        examples=[[{"name": "ledger", "dataProject": "Ledger", "company": "USMF", "outputFolder": "Output"}]],
    )


# What a run that F&O may have been sent keeps of its flow, whatever is set later; the rest is in ``Run.arguments``.
PINNED: Final = frozenset({"environment_url", "drive"})
# What a run's record does not keep of its flow: whom people are told by is no matter of the run, and may be a secret.
# Nor when nothing is imported: what was taken up goes on as soon as its flow is gone.
NOT_SAVED_OF_A_FLOW: Final = frozenset({"note", "not_between", *Alerted.model_fields})

# A flow's settings that make it the flow that it is: they have no default for all flows.
NOT_FOR_ALL: Final = frozenset(
    {
        "name",
        "note",
        "inputFolder",
        "processingFolder",
        "successFolder",
        "errorFolder",
        "unmatchedFolder",
        "partialFolder",
    }
)


def names_of(part: type[Part]) -> tuple[str, ...]:
    """Return the names in JSON of an object's settings."""
    return tuple(str(field.alias) for field in part.model_fields.values())


FLOW_KINDS: Final[Mapping[str, type[ImportFlow | ExportFlow]]] = {"imports": ImportFlow, "exports": ExportFlow}


def words_of(part: type[Part]) -> tuple[str, ...]:
    """Return what ``from``, or its action's name, is in an object that is one of a choice: one word. () if none."""
    key = choice_key(part)
    return next((get_args(field.annotation) for field in part.model_fields.values() if key and field.alias == key), ())


def choice_key(part: type[Part]) -> str:
    """Return the key that says which object of a choice it is, "" if it is none: ``from``, of actions ``name``."""
    fields = part.model_fields.values()
    return next((str(field.alias) for field in fields if get_origin(field.annotation) is Literal), "")


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
    return as_example(field.examples[0] if field.examples else "")


def as_example(example: object) -> str:
    """Return an example as it stands in JSON but for the quotes of a text."""
    return example if isinstance(example, str) else json_text(example)


def all_parts(part: type[Part]) -> frozenset[type[Part]]:
    """Return an object of the model and all that are in it."""
    inner = [each for field in part.model_fields.values() for each in parts_in(field.annotation)]
    return frozenset({part}).union(*map(all_parts, inner))
