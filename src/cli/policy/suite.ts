/**
 * Tests of a policy: files `*_test.yaml` beside it, of kind `PolicyTest`, each a policy, a schema where it matters, and cases of
 * identity, statement and wanted verdict.
 *
 * The rule one must not break: a case passes for the reason that it names. A statement that is no CQL is refused by the mesh, and a case
 * that wants a refusal passes on it only when it says `rule: not-understood`; else a slip of the pen would look like a tested rule.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import type { ParsedDocument, Problem } from '../../base/document.ts'
import { configError, parseDocuments } from '../../base/document.ts'
import { RingfenceError } from '../../base/errors.ts'
import { Consistency } from '../../cql/protocol.ts'
import { proofs } from '../../identity/proofs/index.ts'
import { personOf } from '../../identity/spiffe.ts'
import { loadPolicy } from '../../policy/load.ts'
import type { Principal } from '../../policy/principal.ts'
import type { SchemaView } from '../../policy/request.ts'
import { readInput, UnreadableInput } from '../options.ts'
import { readSchema } from './schema-file.ts'
import type { Answer, BoundValue, Question, Verdict } from './trial.ts'
import { authenticationOf, notUnderstoodRule, questionDefaults, Trial, verdicts } from './trial.ts'
import { isFault, principalOf, trustDomainIn } from './who.ts'

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()])
const boundValue = z.union([scalar, z.array(scalar)])
const instant = z.string().transform((text, context) => {
  const at = parseInstant(text)
  if (at !== undefined) return at
  context.addIssue({
    code: 'custom',
    message: `${JSON.stringify(text)} is no moment; write it like 2026-01-01T10:00Z`,
  })
  return z.NEVER
})
const method = z.enum(proofs.methods as [string, ...string[]])
const consistencies = Object.keys(Consistency) as [string, ...string[]]

const claims = z.record(z.string(), z.union([scalar, z.array(scalar)]))

const testCase = z.strictObject({
  name: z.string().min(1).optional(),
  as: z.string().optional(),
  person: z.string().optional(),
  groups: z.array(z.string()).optional(),
  role: z.string().optional(),
  claims: claims.optional(),
  workloadClaims: claims.optional(),
  keyspace: z.string().min(1).optional(),
  statement: z.string().min(1),
  values: z.union([z.array(boundValue), z.record(z.string(), boundValue)]).optional(),
  pageSize: z.int().min(0).optional(),
  when: z
    .strictObject({
      clientAddress: z.union([z.ipv4(), z.ipv6()]).optional(),
      authentication: z.union([method, z.array(method).min(1, 'the list is empty')]).optional(),
      at: instant.optional(),
      consistency: z.enum(consistencies).optional(),
    })
    .optional(),
  want: z.enum(verdicts),
  rule: z.string().min(1).optional(),
})
const policyTest = z.strictObject({
  policy: z.string().min(1),
  schema: z.string().min(1).optional(),
  schemaFile: z.string().min(1).optional(),
  cases: z.array(testCase).min(1, 'the list is empty, so nothing is tested'),
})
type PolicyTestSpec = z.infer<typeof policyTest>
type CaseSpec = z.infer<typeof testCase>

const kinds = new Map<string, z.ZodType<PolicyTestSpec>>([['PolicyTest', policyTest]])

export interface CaseResult {
  readonly file: string
  /** Of the case, from 1. */
  readonly line: number
  readonly suite: string
  readonly name: string
  readonly as: string
  readonly statement: string
  readonly passed: boolean
  readonly wanted: { readonly verdict: Verdict; readonly rule: string | undefined }
  readonly came: { readonly verdict: Verdict; readonly rule: string; readonly reason: string | undefined }
}

/** A test file that was read whole, with everything that it names. */
export interface Suite {
  run(nowMs: number): readonly CaseResult[]
}

/**
 * The `*_test.yaml` files among files and below folders, in order and each once.
 * @throws UnreadableInput for a path that is not there, and when there is no test file at all
 */
export function findTestFiles(paths: readonly string[]): string[] {
  const files = new Set<string>()
  for (const path of paths) {
    try {
      if (statSync(path).isDirectory()) for (const file of testFilesBelow(path)) files.add(file)
      else files.add(path)
    } catch (cause) {
      if (cause instanceof RingfenceError) throw cause
      throw new UnreadableInput(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`)
    }
  }
  if (files.size === 0)
    throw new UnreadableInput(`no *_test.yaml in ${paths.join(', ')}`, {
      hint: 'ringfence policy test --help shows one',
    })
  return [...files]
}

function testFilesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => !name.startsWith('.') && name !== 'node_modules')
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return testFilesBelow(path)
      return /_test\.ya?ml$/.test(entry.name) ? [path] : []
    })
}

/** @throws RingfenceError CONFIG naming each fault of the file, its policy or its schema; UnreadableInput for one that is not there */
export function loadSuites(file: string): Suite[] {
  const source = readInput(file)
  const suites: Suite[] = []
  const elsewhere = new Set<string>()
  // What is wrong with a file that this one names is told with what is wrong here.
  const read = <Read>(load: () => Read): Read | undefined => {
    try {
      return load()
    } catch (reason) {
      if (!(reason instanceof RingfenceError) || reason.code !== 'CONFIG') throw reason
      elsewhere.add(reason.message)
      return undefined
    }
  }
  read(() =>
    parseDocuments(source, file, kinds, ({ documents }, problems) => {
      for (const document of documents) {
        const { spec } = document
        const beside = (name: string): string => join(dirname(file), name)
        if (spec.schema !== undefined && spec.schemaFile !== undefined) {
          problems.push({
            ...document.position(['spec', 'schemaFile']),
            message: '"schema" and "schemaFile" exclude each other',
          })
        }
        const policyFile = beside(spec.policy)
        const policy = read(() => loadPolicy(readNamed(policyFile, document, 'policy', file), policyFile))
        const trustDomain = trustDomainIn(policy)
        const cases = spec.cases.map((one, index) => readCase(document, one, index, trustDomain, problems))
        const schema = read(() => ({ view: schemaOf(document, source, file, beside) }))
        if (policy === undefined || schema === undefined) continue
        const trial = new Trial(policy, 0, schema.view)
        suites.push({
          run: (nowMs) =>
            cases.flatMap((one) => (one === undefined ? [] : [runCase(trial, file, document.name, one, nowMs)])),
        })
      }
    }),
  )
  if (elsewhere.size > 0) throw new RingfenceError('CONFIG', [...elsewhere].reverse().join('\n'))
  return suites
}

function schemaOf(
  document: ParsedDocument<PolicyTestSpec>,
  source: string,
  file: string,
  beside: (name: string) => string,
): SchemaView | undefined {
  const { schema, schemaFile } = document.spec
  if (schemaFile !== undefined) {
    return readSchema(readNamed(beside(schemaFile), document, 'schemaFile', file), beside(schemaFile))
  }
  if (schema === undefined) return undefined
  const { line, column } = document.position(['spec', 'schema'])
  // The text of a block begins on the line below its sign.
  const isBlock = /[|>]/.test(source.split('\n')[line - 1]?.[column - 1] ?? '')
  return readSchema(schema, file, isBlock ? line + 1 : line)
}

/** Like `readInput`, and the fault says which line asked for the file. */
function readNamed(path: string, document: ParsedDocument<PolicyTestSpec>, key: string, file: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const { line, column } = document.position(['spec', key])
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new UnreadableInput(`${file}:${line}:${column}: ${path} cannot be read: ${why}`)
  }
}

interface Case {
  readonly line: number
  readonly spec: CaseSpec
  readonly as: Principal
}

function readCase(
  document: ParsedDocument<PolicyTestSpec>,
  spec: CaseSpec,
  index: number,
  trustDomain: string,
  problems: Problem[],
): Case | undefined {
  const path = ['spec', 'cases', index]
  const as = principalOf(spec, trustDomain)
  if (!isFault(as)) return { line: document.position(path).line, spec, as }
  problems.push({ ...document.position([...path, as.key]), message: as.message })
  return undefined
}

function runCase(trial: Trial, file: string, suite: string, { spec, as, line }: Case, nowMs: number): CaseResult {
  const question: Question = {
    as,
    keyspace: spec.keyspace,
    statement: spec.statement,
    values: valuesOf(spec),
    pageSize: spec.pageSize ?? questionDefaults.pageSize,
    clientAddress: spec.when?.clientAddress ?? questionDefaults.clientAddress,
    authentication: authenticationOf([spec.when?.authentication ?? questionDefaults.authentication].flat()),
    consistency: spec.when?.consistency ?? questionDefaults.consistency,
    nowMs: spec.when?.at ?? nowMs,
  }
  const answer = askIn(trial, question, file, line)
  const { verdict, rule, reason } = answer
  return {
    file,
    line,
    suite,
    name: spec.name ?? spec.statement.replaceAll(/\s+/g, ' ').trim(),
    as: partyNames(as),
    statement: spec.statement,
    passed: meets(spec, answer),
    wanted: { verdict: spec.want, rule: spec.rule },
    came: { verdict, rule, reason },
  }
}

/** The SPIFFE id, and the person behind it. */
function partyNames({ spiffeId, person }: Principal): string {
  return person === undefined || personOf(spiffeId) === person ? spiffeId : `${spiffeId} ${person}`
}

function askIn(trial: Trial, question: Question, file: string, line: number): Answer {
  try {
    return trial.ask(question)
  } catch (reason) {
    const { message } = RingfenceError.from(reason, 'CONFIG')
    throw configError(file, [{ line, column: 1, message }])
  }
}

function meets({ want, rule }: CaseSpec, answer: Answer): boolean {
  if (answer.verdict !== want) return false
  if (rule === undefined) return answer.rule !== notUnderstoodRule
  return answer.rules.includes(rule) || answer.rule === rule
}

function valuesOf({ values }: CaseSpec): readonly BoundValue[] | ReadonlyMap<string, BoundValue> | undefined {
  if (values === undefined || Array.isArray(values)) return values
  return new Map(Object.entries(values))
}

/** ISO 8601 with its zone, seconds and milliseconds where wanted: `2026-01-01T10:00Z`. */
export function parseInstant(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/.test(text)) return undefined
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : at
}
