/**
 * What an auditor asks for as a population: all that there was of one kind, each line of it, and which control wants which.
 *
 * Rule: a population is a question to the record alone, so that whoever has the record gets the same again.
 */
import { isAccess } from './requests.ts'

export interface Population {
  readonly name: string
  readonly words: string
  readonly sql: string
}

export interface Control {
  readonly id: string
  readonly words: string
  readonly populations: readonly Population[]
}

/** Each that a statement touches: a BATCH may have no table of its own, and what touches a view has more than one. */
const tables = `array_to_string(tables, ', ') AS tables`

const access: Population = {
  name: 'access',
  words: 'who used what: one line for each identity, table, operation, rule and verdict',
  sql: `SELECT workload, person, authentication, keyspace, table_name, ${tables}, operation, verdict, rule, count(*) AS requests,
  sum(rows_answered)::BIGINT AS rows_answered, min(time) AS first, max(time) AS last,
  min(policy_revision) AS first_revision, max(policy_revision) AS last_revision
FROM record WHERE ${isAccess}
GROUP BY workload, person, authentication, keyspace, table_name, record.tables, operation, verdict, rule ORDER BY ALL`,
}
const logIns: Population = {
  name: 'log-ins',
  words: 'who came in, from where and by what proof: one line for each session',
  sql: `SELECT time, proxy, session, workload, person, authentication, provider, client_address, gateway, driver, evidence_hash
FROM record WHERE operation = 'CONNECT' ORDER BY ALL`,
}
const refusedLogIns: Population = {
  name: 'log-ins-refused',
  words: 'who did not come in, and why; what they claim to be proves nothing',
  sql: `SELECT time, proxy, cause, claimed, provider, issuer, client_address, gateway, driver
FROM record WHERE event = 'log-in refused' ORDER BY ALL`,
}
const refused: Population = {
  name: 'refused',
  words: 'each request that was refused, and by which rule of which revision',
  sql: `SELECT time, proxy, seq, session, workload, person, client_address, keyspace, table_name, ${tables}, operation, statement,
  rule, policy_revision
FROM record WHERE verdict = 'deny' ORDER BY ALL`,
}
const revoked: Population = {
  name: 'revoked',
  words: 'what those asked who had been thrown out, and that it was refused',
  sql: `SELECT time, proxy, seq, session, workload, person, keyspace, table_name, ${tables}, operation, verdict, error_message
FROM record WHERE rule = 'revoked' ORDER BY ALL`,
}
const policyRevisions: Population = {
  name: 'policy-revisions',
  words: 'which revision of the policy decided, from when to when, at which sidecar',
  sql: `SELECT policy_revision, proxy, min(time) AS first, max(time) AS last, count(*) AS decisions
FROM record WHERE policy_revision IS NOT NULL GROUP BY policy_revision, proxy ORDER BY ALL`,
}
const sources: Population = {
  name: 'sources',
  words: 'from where somebody came, through which gateway and by what proof; listener: nobody proved anything',
  sql: `SELECT client_address, gateway, proxy, authentication, workload, count(*) AS lines, min(time) AS first, max(time) AS last
FROM record WHERE workload IS NOT NULL GROUP BY client_address, gateway, proxy, authentication, workload ORDER BY ALL`,
}
const schemaChanges: Population = {
  name: 'schema-changes',
  words: 'each statement that makes, changes or drops something, and who sent it',
  sql: `SELECT time, proxy, seq, workload, person, keyspace, table_name, ${tables}, operation, statement, verdict, rule, outcome
FROM record WHERE regexp_matches(operation, '^(CREATE|ALTER|DROP|TRUNCATE|GRANT|REVOKE|ADD|RENAME)\\b')
AND request IS DISTINCT FROM 'PREPARE' ORDER BY ALL`,
}
/** By start of a process, for each begins at 1. Within one the order of numbers counts, not that of time: requests overtake each other. */
const completeness: Population = {
  name: 'completeness',
  words: 'lines that each sidecar numbered, and where a number is missing; numbers begin anew where a process does',
  sql: `SELECT proxy, sum(lines)::BIGINT AS lines, sum(begun)::BIGINT AS starts, min(first) AS first, max(last) AS last,
  sum(missing)::BIGINT AS missing, sum(twice)::BIGINT AS twice, sum(dropped)::BIGINT AS dropped
FROM (SELECT proxy, start, count(*) AS lines, count(*) FILTER (seq = 1) AS begun, min(time) AS first, max(time) AS last,
    coalesce(sum(seq - before - 1) FILTER (seq > before + 1), 0) AS missing, count(*) FILTER (seq = before) AS twice, max(dropped) AS dropped
  FROM (SELECT *, lag(seq) OVER (PARTITION BY proxy, start ORDER BY seq) AS before
    FROM (SELECT *, sum((seq = 1)::INTEGER) OVER (PARTITION BY proxy ORDER BY time, seq ROWS UNBOUNDED PRECEDING) AS start
      FROM record WHERE seq IS NOT NULL))
  GROUP BY proxy, start)
GROUP BY proxy ORDER BY ALL`,
}

/** SOC 2 by its trust services criteria, ISO/IEC 27001:2022 by its Annex A. */
export const controls: readonly Control[] = [
  { id: 'CC6.1', words: 'logical access', populations: [access, logIns, refusedLogIns, completeness] },
  { id: 'CC6.2', words: 'who is let in', populations: [logIns, refusedLogIns, completeness] },
  {
    id: 'CC6.3',
    words: 'access is changed and removed',
    populations: [access, policyRevisions, revoked, completeness],
  },
  { id: 'CC6.6', words: 'threats from outside', populations: [sources, refusedLogIns, refused, completeness] },
  { id: 'CC7.2', words: 'monitoring', populations: [refused, refusedLogIns, completeness] },
  { id: 'CC8.1', words: 'changes', populations: [schemaChanges, policyRevisions, completeness] },
  { id: 'A.5.15', words: 'access control', populations: [access, refused, completeness] },
  { id: 'A.5.18', words: 'access rights', populations: [access, policyRevisions, revoked, completeness] },
  { id: 'A.8.5', words: 'secure authentication', populations: [logIns, refusedLogIns, completeness] },
  { id: 'A.8.15', words: 'logging', populations: [completeness] },
  { id: 'A.8.32', words: 'change management', populations: [schemaChanges, policyRevisions, completeness] },
]
