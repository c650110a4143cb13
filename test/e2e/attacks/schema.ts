/** The keyspaces that the corpus attacks: `e2e_attacks`, another, and one that nobody but the administrators sees. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Client } from 'cassandra-driver'
import type { MeshFixture } from '../fixture.ts'
import { policyFile } from '../held.ts'
import { putInForce } from '../in-force.ts'
import { changeSchema, createKeyspace } from '../schema.ts'

export const keyspaces = ['e2e_attacks', 'e2e_attacks_other', 'e2e_attacks_hidden'] as const

const notNull = (...columns: string[]): string => columns.map((column) => `${column} IS NOT NULL`).join(' AND ')

const objects = [
  'CREATE TABLE e2e_attacks.open (k text PRIMARY KEY, v text)',
  'CREATE TABLE e2e_attacks.shifting (k text PRIMARY KEY, v text)',
  'CREATE TABLE e2e_attacks.secret (k text PRIMARY KEY, v text)',
  `CREATE MATERIALIZED VIEW e2e_attacks.secret_view AS SELECT * FROM e2e_attacks.secret WHERE ${notNull('k', 'v')} PRIMARY KEY (v, k)`,
  'CREATE TYPE e2e_attacks.address (street text, zip text)',
  `CREATE TABLE e2e_attacks.people (k text, c int, name text, ssn text, age int, tags map<text, text>, phones set<text>,
    home frozen<e2e_attacks.address>, face vector<float, 3>, PRIMARY KEY (k, c))`,
  'CREATE INDEX people_ssn ON e2e_attacks.people (ssn)',
  `CREATE MATERIALIZED VIEW e2e_attacks.people_view AS SELECT ssn, k, c, name FROM e2e_attacks.people
    WHERE ${notNull('ssn', 'k', 'c')} PRIMARY KEY (ssn, k, c)`,
  'CREATE TABLE e2e_attacks.json (key text PRIMARY KEY, json int, distinct int, ttl int)',
  'CREATE TABLE e2e_attacks."__proto__" ("toString" text PRIMARY KEY, "__proto__" text, "constructor" text)',
  'CREATE TABLE e2e_attacks.kept (k text PRIMARY KEY, v text)',
  'CREATE TABLE e2e_attacks.held (k text PRIMARY KEY, v text)',
  'CREATE TABLE e2e_attacks.guarded (k text, c int, v text, PRIMARY KEY (k, c))',
  "CREATE FUNCTION e2e_attacks.answer (x text) CALLED ON NULL INPUT RETURNS text LANGUAGE java AS 'return x;'",
  'CREATE TABLE e2e_attacks_other.open (k text PRIMARY KEY, v text)',
  'CREATE TABLE e2e_attacks_other.door (k text PRIMARY KEY, v text)',
  'CREATE TABLE e2e_attacks_hidden.secret (k text PRIMARY KEY, v text)',
]

const rows = [
  "INSERT INTO e2e_attacks.open (k, v) VALUES ('where', 'ours')",
  "INSERT INTO e2e_attacks_other.open (k, v) VALUES ('where', 'theirs')",
  "INSERT INTO e2e_attacks.secret (k, v) VALUES ('a', 'the secret')",
  ...Array.from(
    { length: 20 },
    (_, c) => `INSERT INTO e2e_attacks.people (k, c, name, ssn, age, tags, phones, home, face)
      VALUES ('a', ${c}, 'name ${c}', 'ssn ${c}', ${40 + c}, {'a': 'tag ${c}'}, {'phone ${c}'}, {street: 'street', zip: 'zip'}, [0.1, 0.2, 0.${c + 1}])`,
  ),
]

/** Makes them anew, with a few rows, and only then puts `policy.yaml` in force. */
export async function makeKeyspaces(mesh: MeshFixture, admin: Client): Promise<void> {
  await dropKeyspaces(mesh)
  await changeSchema(mesh, [...keyspaces.map((keyspace) => createKeyspace(mesh, keyspace)), ...objects])
  for (const statement of rows) await admin.execute(statement)
  await putInForce(
    mesh,
    `${readFileSync(policyFile, 'utf8')}---\n${readFileSync(attackPolicyFile, 'utf8')}`,
    attackPolicyFile,
  )
}

/** Takes the policy off and the keyspaces away. */
export async function dropKeyspaces(mesh: MeshFixture): Promise<void> {
  await putInForce(mesh, readFileSync(policyFile, 'utf8'), policyFile)
  await changeSchema(
    mesh,
    keyspaces.map((keyspace) => `DROP KEYSPACE IF EXISTS ${keyspace}`),
  )
}

export const attackPolicyFile = join(import.meta.dirname, 'policy.yaml')
