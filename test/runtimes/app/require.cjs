const { LockManager } = require("holdfast");
import("holdfast").then((module) => console.log(typeof LockManager, module.LockManager === LockManager));
