// Loaded into an Azurite that keeps its data in memory, where a test or a benchmark may keep many blobs.

// Ten minutes after its start Azurite begins to clean up blobs that are gone, and where there have been many it answers
// nobody for minutes meanwhile. In memory nothing needs it: the process ends soon.
// https://github.com/Azure/Azurite/blob/main/src/blob/gc/BlobGCManager.ts
require("./node_modules/azurite/dist/src/blob/utils/constants").DEFAULT_GC_INTERVAL_MS = 2 ** 31 - 1; // the longest timer

// Azurite finds a blob by account, container and name, in this order. Its database uses an index for the first of them
// only, which all blobs have in common, and compares the rest with every one of them: a call takes the longer the more
// blobs there are. Asked for the name first it finds the same at once.
// https://github.com/techfort/LokiJS/blob/master/src/lokijs.js, Resultset.prototype.findAnd and removeBatchByPositions
const collection = new (require("./node_modules/lokijs"))("unused").addCollection("unused");
const resultset = Object.getPrototypeOf(collection.chain());
const { findAnd } = resultset;
resultset.findAnd = resultset.$and = function (conditions) {
  const isName = (condition) => Number(typeof condition.name === "string");
  return findAnd.call(this, [...conditions].sort((one, other) => isName(other) - isName(one)));
};

// To delete a blob it removes all that were found, and sorts every index anew. Of one it can remove just that one.
const anyCollection = Object.getPrototypeOf(collection);
const { removeBatchByPositions } = anyCollection;
anyCollection.removeBatchByPositions = function (positions) {
  return positions.length === 1 ? this.remove(this.data[positions[0]]) : removeBatchByPositions.call(this, positions);
};
