/** Servers that belong together: a Cluster, Sentinels, a primary and its replicas, one with TLS. */
export { ask } from "./topologies/asking.ts";
export { type Cluster, type ClusterNode, startCluster } from "./topologies/cluster.ts";
export { addressOf, busPort, toldPort } from "./topologies/fronts.ts";
export { startReplicated } from "./topologies/replicated.ts";
export { type SentinelOptions, type Sentinels, startSentinels } from "./topologies/sentinels.ts";
export { type TlsServer, startTls } from "./topologies/tls.ts";
export { type Address } from "./topologies/topology.ts";
