/**
 * `mesh` is what Ringfence's own processes say to each other: messages, and the helpers that both of their ends need.
 *
 * The rule one must not break: a message stays readable for the version before and the version after.
 *
 * This file: who speaks.
 */

/** Roles that a join token can be for. */
export const agentRoles = ['gateway', 'sidecar', 'workload', 'node'] as const

export type AgentRole = (typeof agentRoles)[number]

/** Longest name of a proxy, a data centre or a rack. */
export const nameMax = 128

/** The mesh's own ids, below `spiffe://<trust domain>/ringfence/`. */
export const meshPaths = {
  controlPlane: 'control-plane',
  gateway: 'gateway',
  sidecar: 'sidecar',
  node: 'node',
} as const
