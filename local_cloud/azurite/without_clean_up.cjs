// Loaded into an Azurite that keeps its data in memory. Ten minutes after its start Azurite begins to clean up blobs that
// are gone, and where there have been many it answers nobody for minutes meanwhile. In memory nothing needs it: the
// process ends soon. https://github.com/Azure/Azurite/blob/main/src/blob/gc/BlobGCManager.ts
require("./node_modules/azurite/dist/src/blob/utils/constants").DEFAULT_GC_INTERVAL_MS = 2 ** 31 - 1; // the longest timer
