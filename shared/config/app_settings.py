"""Which app settings there are: what each means, its default, an example.

The table of ``docs/settings.md`` is made of it. How they are read is ``settings.py``; what a flow may be, ``model.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

EXAMPLE_URL: Final = "https://contoso.operations.dynamics.com"
EXAMPLE_DRIVE: Final = "users/integration@contoso.com/drive"


@dataclass(frozen=True, slots=True)
class Setting:
    """One app setting."""

    name: str
    meaning: str  # Markdown
    default: str = ""
    example: str = ""
    in_logic_apps: str = ""  # the parameter of Microsoft's Logic Apps that it replaces
    is_secret: bool = False
    has_key: bool = False  # an address whose query holds a key; the rest of it may be shown


# The name under which azure-functions-runtime reads it, too.
THREADS: Final = "PYTHON_THREADPOOL_THREAD_COUNT"

_ALL: Final = (
    Setting(
        "FO_URL",
        "Address of the F&O environment, as in the browser, without anything behind the host. On-premises environments "
        "end with `/namespaces/AXSF`.",
        example=EXAMPLE_URL,
        in_logic_apps="in: `paramdynamicsax_instance`; out: `D365FOURL`",
    ),
    Setting(
        "ONEDRIVE_DRIVE",
        "The OneDrive or document library: `drives/<drive id>`, `users/<user principal name>/drive` or `me/drive` "
        "(signed-in user only). A bare drive id (`b!...`) or user name will do.",
        example=EXAMPLE_DRIVE,
        in_logic_apps="the OneDrive connection",
    ),
    Setting(
        "ONEDRIVE_SIGN_IN",
        "`app`: the app's own identity (application permissions). `user`: a person who signs in once with `python "
        "dev.py sign-in`; always for a personal OneDrive.",
        default="app",
        example="app",
        in_logic_apps="the OneDrive connection, which is `user`",
    ),
    Setting(
        "SIGN_IN_CLIENT_ID",
        "For `user`: client id of an app registration that allows public client flows.",
        example="11111111-2222-3333-4444-555555555555",
    ),
    Setting(
        "SIGN_IN_TENANT",
        "For `user`: the tenant's id or domain, `consumers` for a personal OneDrive.",
        example="contoso.onmicrosoft.com, or consumers for a personal OneDrive",
    ),
    Setting(
        "INPUT_FOLDER",
        "The watched folder, as a path in the drive. Set to nothing, there is no import.",
        default="Input",
        example="LogicAppsIntegration/Demo01/Input",
        in_logic_apps="in: folder id inside the definition, `/LogicAppsIntegration/Demo01/Input`",
    ),
    Setting(
        "PROCESSING_FOLDER",
        "Where a file is while F&O works on it. By default beside the Input folder, as the next two.",
        default="Processing",
        example="LogicAppsIntegration/Demo01/Processing",
        in_logic_apps="in: inside the definition",
    ),
    Setting(
        "SUCCESS_FOLDER",
        "Where a file goes if all its rows were imported.",
        default="Success",
        example="LogicAppsIntegration/Demo01/Success",
        in_logic_apps="in: inside the definition",
    ),
    Setting(
        "ERROR_FOLDER",
        "Where a file goes if it was refused or failed, with a report beside it.",
        default="Error",
        example="LogicAppsIntegration/Demo01/Error",
        in_logic_apps="in: inside the definition, `Exception`; failed imports went to `Success`",
    ),
    Setting(
        "IMPORT_DATA_PROJECT",
        "Data project to import under; `{company}` in it stands for the file's company. Empty: the one that the "
        "package's manifest names.",
        example="Asset-Major-Types",
        in_logic_apps="in: `ImportFlow01` inside the definition",
    ),
    Setting(
        "IMPORT_COMPANY",
        "Company to import into. Empty: the part of the file's name before the first underscore.",
        example="USMF",
        in_logic_apps="in: always from the file's name",
    ),
    Setting(
        "IMPORT_OVERWRITE",
        "Whether F&O may replace the data project's definition by the package's; `false` for composite entities. Does "
        "not affect rows.",
        default="true",
        example="true",
        in_logic_apps="in: `true` inside the definition",
    ),
    Setting(
        "IMPORT_STRICT_ORDER",
        "Whether no file may pass another. A file that cannot go on is waited for, instead of being passed after three "
        "minutes; and a file that did not succeed stops its lane, until a person runs it again, skips it or resumes "
        "the lane.",
        default="false",
        example="true",
    ),
    Setting(
        "IMPORT_DUPLICATES",
        "What happens to a package that holds, byte for byte, what was imported before: `warn`, `refuse` or `allow` "
        "([the same content again](integrations.md#same-content-again)).",
        default="warn",
        example="refuse",
    ),
    Setting(
        "IMPORT_IGNORED_NAMES",
        "Names in the Input folders that the app leaves alone, with `;` between them: those that programs give to "
        "files they have not finished. `*` stands for any characters, `?` for one; case does not matter. Add a folder "
        "that is to stay in Input, too. Set to nothing, no name is left alone.",
        default="*.tmp; *.partial; *.crdownload; ~$*; .~lock*",
        example="*.tmp; *.bak; Archive",
    ),
    Setting(
        "EXPORT_DATA_PROJECT",
        "Export project in F&O; it must exist. Empty: there is no export.",
        example="Asset-Major-Types-Export",
        in_logic_apps="out: `DataProject`",
    ),
    Setting(
        "EXPORT_COMPANY",
        "Company to export from.",
        example="USMF",
        in_logic_apps="out: `LegalEntity`",
    ),
    Setting(
        "OUTPUT_FOLDER",
        "Where exported packages are put.",
        default="Output",
        example="LogicAppsIntegration/Demo01/Output",
        in_logic_apps="out: `OnedriveDownloadFolder`",
    ),
    Setting(
        "OUTBOUND_SCHEDULE",
        "When exports start: NCRONTAB with six fields, in UTC. `*/30 * * * * *` is every 30 seconds, as in the Logic "
        "App. Azure reads it itself; set it in any case, `start_exports` cannot start without it. An export that is "
        "still running is not started again. A moment that passes while the app does not run is made up for, once; "
        "with schedules under a minute the next tick comes within seconds. A changed schedule that has a moment "
        "between the last export and now starts one at once.",
        example="*/30 * * * * *",
        in_logic_apps="out: recurrence of 30 seconds",
    ),
    Setting(
        "INTEGRATIONS",
        "Any number of imports and exports: JSON, or the path of a JSON file in the app, `integrations.json` (one with "
        "another name needs a line in `.funcignore`), as [imports and exports](integrations.md) describes. `FO_URL` "
        "and `ONEDRIVE_DRIVE` serve flows that name none; the folder, import and export settings above must then be "
        "empty.",
        example="integrations.json",
        in_logic_apps="one pair of Logic Apps each",
    ),
    Setting(
        "NOTIFICATION_URL",
        "Whole address of the function `receive_notification`, with its key (`?code=...`), for Graph to call. Empty: "
        "the app scans every minute only.",
        example="https://contoso-fo.azurewebsites.net/api/receive_notification?code=<function key>",
        has_key=True,
    ),
    Setting(
        "CLIENT_STATE",
        "16 to 128 random characters that prove that a notification is from Graph. Needed with `NOTIFICATION_URL`.",
        example="a long random string, such as the output of: python -c 'import secrets; "
        "print(secrets.token_urlsafe())'",
        is_secret=True,
    ),
    Setting(
        "ALERT_RECIPIENT",
        "Who gets an e-mail if a person must act; several with `;` between them. Mail, Teams and webhook may be set at "
        "once; without any of them alerts go to the log. A flow of `INTEGRATIONS` may name its own with "
        "`alertRecipient`, `alertTeamsUrl` and `alertWebhookUrl`, the two addresses best by the name of another "
        "setting: `%FINANCE_TEAMS_URL%`.",
        example="it-operations@contoso.com",
        in_logic_apps="in: `paramexception_email_id`; out: `AlertRecipient`",
    ),
    Setting(
        "ALERT_SENDER",
        "The mailbox that sends alerts. Empty: that of the signed-in user; the app's own identity needs one.",
        example="integration@contoso.com",
        in_logic_apps="the Office 365 connection",
    ),
    Setting(
        "ALERT_TEAMS_URL",
        'Address of a Teams workflow "Post to a channel when a webhook request is received", as Teams shows it. '
        "Whoever has it can post: best as a Key Vault reference.",
        example="the address that the Teams workflow shows, including everything after the '?'",
        is_secret=True,
    ),
    Setting(
        "ALERT_WEBHOOK_URL",
        "Address to which alerts are posted as JSON; [schema](alert.schema.json). Best as a Key Vault reference, if a "
        "key stands in it.",
        example="https://events.contoso.com/fo",
        is_secret=True,
    ),
    Setting(
        "ALERT_WEBHOOK_SECRET",
        "Signs what is posted there as [Standard Webhooks](https://www.standardwebhooks.com) says: 24 to 64 random "
        "bytes as base64, with or without `whsec_` before them. Empty: no signature.",
        example='the output of: python -c \'import base64, secrets; print("whsec_" + '
        "base64.b64encode(secrets.token_bytes(32)).decode())'",
        is_secret=True,
    ),
    Setting(
        "ALERT_REMIND_AFTER_HOURS",
        "After how many hours people are reminded of a problem that is still open, and then again. 0: never.",
        default="24",
        example="24",
    ),
    Setting(
        "APP_URL",
        "Address of the app for the links in alerts, if it is not the one that Azure gives it: a domain of your own, a "
        "proxy.",
        example="https://fo.contoso.com",
    ),
    Setting(
        "WEBSITE_HOSTNAME",
        "The app's host name, which Azure and Core Tools set themselves; the links in alerts lead there.",
        example="contoso-fo.azurewebsites.net",
    ),
    Setting(
        "IMPORT_STUCK_AFTER_MINUTES",
        "After so long an import counts as stuck: one alert, and the app goes on polling it. It is never submitted "
        "again.",
        default="240",
        example="240",
        in_logic_apps="in: `paramretry_policy_count`, which stopped after 20 seconds",
    ),
    Setting(
        "EXPORT_STUCK_AFTER_MINUTES",
        "The same for exports.",
        default="240",
        example="240",
        in_logic_apps="out: `UntilLoopRetryCount`, which stopped after 150 seconds",
    ),
    Setting(
        "SUBMIT_GRACE_SECONDS",
        "How long F&O may take to show an execution whose answer was lost, before the package is submitted again.",
        default="180",
        example="180",
    ),
    Setting(
        "POLL_STAY_SECONDS",
        "How long a worker stays with an execution that F&O has just started, or that should end now, judged by the "
        "last one, and polls it often: short imports then follow each other without a gap. After that the queue wakes "
        "it. 0: never.",
        default="5",
        example="5",
    ),
    Setting(
        "POLL_FIRST_SECONDS",
        "Shortest wait between two polls of an execution that the worker no longer stays with. The wait grows with the "
        "time that the execution takes.",
        default="2",
        example="2",
        in_logic_apps="in: 10 seconds; out: 15 seconds",
    ),
    Setting(
        "POLL_LONGEST_SECONDS",
        "Longest wait between two polls of an execution.",
        default="300",
        example="300",
    ),
    Setting(
        "DRAIN",
        "`true`: the app opens, claims and submits nothing new, and ends what F&O has received: for updates of F&O. "
        "The same as [Drain](operations.md#drain) on the list of runs, which needs no restart.",
        default="false",
        example="true",
    ),
    Setting(
        "PYTHON_THREADPOOL_THREAD_COUNT",
        "How many invocations one process runs at the same time; they mostly wait for other services. Azure's runtime "
        "reads it, too, but before the app's settings are there, so the app starts the thread pool again when it is "
        "loaded.",
        default="64",
        example="64",
    ),
    Setting(
        "AZURE_TENANT_ID",
        "Tenant of the app's own identity. Needed with a secret or a certificate.",
        example="contoso.onmicrosoft.com",
        in_logic_apps="consent of one user",
    ),
    Setting(
        "AZURE_CLIENT_ID",
        "Client id of the app's own identity. Without secret and certificate: of a user-assigned managed identity; "
        "empty for the system-assigned one.",
        example="11111111-2222-3333-4444-555555555555",
    ),
    Setting(
        "AZURE_CLIENT_SECRET",
        "Client secret of the app's own identity, best as a Key Vault reference. Neither secret nor certificate: "
        "managed identity.",
        example="the secret's value (not its id)",
        is_secret=True,
    ),
    Setting(
        "CLIENT_SECRET_EXPIRES",
        "The day on which that secret expires, as Entra ID shows it: people get an alert a month before. (The app "
        "reads it from a certificate.)",
        example="2027-05-31",
    ),
    Setting(
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "Certificate of the app's own identity with its private key, PEM or PKCS12.",
        example="/mounts/certificates/app.pem",
    ),
    Setting(
        "AZURE_CLIENT_CERTIFICATE_PASSWORD",
        "Password of that file, if it has one.",
        example="the certificate's password",
        is_secret=True,
    ),
    Setting(
        "AZURE_AUTHORITY_HOST",
        "Entra ID: `https://login.microsoftonline.us` for US Government, `https://login.partner.microsoftonline.cn` "
        "for China.",
        default="https://login.microsoftonline.com",
        example="https://login.microsoftonline.us",
    ),
    Setting(
        "GRAPH_URL",
        "Microsoft Graph: `https://graph.microsoft.us` for US Government L4, `https://dod-graph.microsoft.us` for L5 "
        "(DOD), `https://microsoftgraph.chinacloudapi.cn` for China.",
        default="https://graph.microsoft.com",
        example="https://graph.microsoft.us",
    ),
    Setting(
        "AzureWebJobsStorage",
        "The storage account of the app as a connection string; `UseDevelopmentStorage=true` for Azurite. In Azure use "
        "one of the next instead; then this one must not exist at all: the host reads it first, even if it is empty.",
        example="UseDevelopmentStorage=true, or AzureWebJobsStorage__accountName=contosostorage together with "
        "AzureWebJobsStorage__credential=managedidentity",
        is_secret=True,
    ),
    Setting(
        "AzureWebJobsStorage__accountName",
        "The storage account by name, together with `AzureWebJobsStorage__credential`; the app's identity needs "
        "Storage Blob Data Owner and Storage Queue Data Contributor.",
        example="contosostorage",
    ),
    Setting(
        "AzureWebJobsStorage__blobServiceUri",
        "The storage account by address, for other clouds and private domains; goes with the next. Set the name, too: "
        "[without it Azure's host sometimes fails to "
        "start](https://github.com/Azure/azure-functions-host/issues/11787).",
        example="https://contosostorage.blob.core.windows.net",
    ),
    Setting(
        "AzureWebJobsStorage__queueServiceUri",
        "The address of its queues.",
        example="https://contosostorage.queue.core.windows.net",
    ),
    Setting(
        "AzureWebJobsStorage__credential",
        "`managedidentity`: set it with the account's name or addresses in any case. Without it the Functions host "
        "takes the first identity that it finds, which is that of the `AZURE_CLIENT_...` settings if there are any; "
        "the app itself always takes the managed identity.",
        example="managedidentity",
    ),
    Setting(
        "AzureWebJobsStorage__clientId",
        "Client id of the user-assigned identity that may use the storage account; the host reads it only with "
        "`AzureWebJobsStorage__credential`. Empty: the system-assigned one.",
        example="11111111-2222-3333-4444-555555555555",
    ),
)
SETTINGS: Final[Mapping[str, Setting]] = {setting.name: setting for setting in _ALL}
