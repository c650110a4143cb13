/**
 * Documents → `DataRules`. A rule that could never do anything is a fault, because its author believes that it does something.
 */
import type { DocumentPath, ParsedDocument } from '../../base/document.ts'
import { unknownWord } from '../../base/words.ts'
import { checkSubjects, type Providers } from '../load/subjects.ts'
import { isSystemKeyspace } from '../names.ts'
import type { Mask } from '../obligations.ts'
import { includesSubject, type Subject } from '../subjects.ts'
import { ownClasses } from './classes.ts'
import type { DataClassSpec, GuardrailSpec, MaskingPolicySpec, RetentionPolicySpec } from './kinds.ts'
import type { GuardRule, HoldRule, MaskRule, RetentionRule, Target } from './rules.ts'
import { DataRules } from './rules.ts'

export type Fault = (document: ParsedDocument, path: DocumentPath, message: string) => void

/** Makes the rules of a policy's documents; those of other kinds are passed over. Each fault found is told to `fault`. */
export function compileDataRules(documents: readonly ParsedDocument[], providers: Providers, fault: Fault): DataRules {
  return new Compiler(documents, providers, fault).compile()
}

type Named = Pick<RetentionPolicySpec, 'dataClass' | 'keyspaces' | 'tables'> & {
  readonly columns?: string[] | undefined
}

const everything: readonly Target[] = [{ keyspaces: ['*'], tables: undefined, columns: undefined }]

class Compiler {
  readonly #documents: readonly ParsedDocument[]
  readonly #providers: Providers
  readonly #fault: Fault
  readonly #classes = new Map<string, ParsedDocument<DataClassSpec>>()
  readonly #classesUsed = new Set<string>()
  readonly #masks: MaskRule[] = []
  readonly #retention: RetentionRule[] = []
  readonly #holds: HoldRule[] = []
  readonly #guards: GuardRule[] = []

  constructor(documents: readonly ParsedDocument[], providers: Providers, fault: Fault) {
    this.#documents = documents
    this.#providers = providers
    this.#fault = fault
  }

  compile(): DataRules {
    for (const document of this.#of<DataClassSpec>('DataClass')) {
      this.#checkClass(document)
      if (!this.#classes.has(document.name)) this.#classes.set(document.name, document)
    }
    for (const document of this.#of<MaskingPolicySpec>('MaskingPolicy')) this.#addMasking(document)
    for (const document of this.#of<RetentionPolicySpec>('RetentionPolicy')) this.#addRetention(document)
    for (const document of this.#of<GuardrailSpec>('Guardrail')) this.#addGuardrail(document)
    for (const document of this.#classes.values()) {
      if (this.#classesUsed.has(document.name)) continue
      const message = 'no MaskingPolicy or RetentionPolicy names this class, so it can never do anything'
      this.#fault(document, ['metadata', 'name'], message)
    }
    return new DataRules({ masks: this.#masks, retention: this.#retention, holds: this.#holds, guards: this.#guards })
  }

  #of<Spec>(kind: string): ParsedDocument<Spec>[] {
    return this.#documents.filter((document) => document.kind === kind) as ParsedDocument<Spec>[]
  }

  #checkClass(document: ParsedDocument<DataClassSpec>): void {
    const { columns, tables } = document.spec
    if (columns === undefined && tables === undefined) {
      this.#fault(document, ['spec'], 'the class names nothing; add columns or tables')
    }
    for (const key of ['columns', 'tables'] as const) {
      for (const [index, { keyspace }] of document.spec[key]?.entries() ?? []) {
        this.#checkKeyspace(document, ['spec', key, index, 'keyspace'], keyspace)
      }
    }
  }

  #addMasking(document: ParsedDocument<MaskingPolicySpec>): void {
    const { spec, name } = document
    const targets = this.#targets(document, spec)
    if (spec.dataClass === undefined && spec.keyspaces !== undefined && spec.columns === undefined) {
      this.#fault(document, ['spec'], 'the policy names no columns; add columns')
    }
    this.#checkSubjects(document, 'subjects', spec.subjects)
    this.#checkSubjects(document, 'exceptSubjects', spec.exceptSubjects)
    const { subjects, exceptSubjects = [] } = spec
    if (subjects?.every((subject) => exceptSubjects.some((wide) => includesSubject(wide, subject)))) {
      this.#fault(document, ['spec', 'exceptSubjects'], 'every subject is excepted, so the rule can never do anything')
    }
    const rule = { name, observe: spec.mode === 'observe' }
    this.#masks.push({ ...rule, targets, subjects, exceptSubjects, mask: this.#mask(document) })
  }

  #mask(document: ParsedDocument<MaskingPolicySpec>): Mask {
    const { mask, keepStart = 0, keepEnd = 0 } = document.spec
    if (mask === 'partial') {
      if (keepStart + keepEnd === 0) {
        this.#fault(
          document,
          ['spec', 'mask'],
          '"partial" keeps some characters; add keepStart or keepEnd, or write full',
        )
      }
      return { kind: mask, keepStart, keepEnd }
    }
    for (const key of ['keepStart', 'keepEnd'] as const) {
      if (document.spec[key] === undefined) continue
      this.#fault(document, ['spec', key], `"${key}" belongs to mask partial, so it can never do anything here`)
    }
    return { kind: mask }
  }

  #addRetention(document: ParsedDocument<RetentionPolicySpec>): void {
    const { spec, name } = document
    const targets = this.#targets(document, spec)
    const { maxTtl, defaultTtl, requireTtl, legalHold } = spec
    const limits = (['maxTtl', 'requireTtl', 'defaultTtl'] as const).filter((key) => spec[key] !== undefined)
    const rule = { name, observe: spec.mode === 'observe', targets }
    if (legalHold !== undefined) {
      for (const key of limits) {
        const message = `"${key}" can never do anything beside "legalHold": what is held must not expire; give it a policy of its own`
        this.#fault(document, ['spec', key], message)
      }
      this.#holds.push({ ...rule, kind: 'hold' })
      return
    }
    if (limits.length === 0) {
      this.#fault(document, ['spec'], 'the policy asks for nothing; add maxTtl, requireTtl, defaultTtl or legalHold')
    }
    if (maxTtl !== undefined && defaultTtl !== undefined && defaultTtl > maxTtl) {
      const message = `${defaultTtl} seconds exceed maxTtl, ${maxTtl} seconds, so no table could be made`
      this.#fault(document, ['spec', 'defaultTtl'], message)
    }
    const required = requireTtl !== undefined || maxTtl !== undefined
    this.#retention.push({ ...rule, kind: 'retention', maxSeconds: maxTtl, defaultSeconds: defaultTtl, required })
  }

  #addGuardrail(document: ParsedDocument<GuardrailSpec>): void {
    const { spec, name } = document
    const { mode, keyspaces, tables, ...limits } = spec
    if (Object.values(limits).every((limit) => limit === undefined)) {
      this.#fault(document, ['spec'], `the Guardrail limits nothing; add one of ${guardrailLimits.join(', ')}`)
    }
    for (const key of ['scans', 'allowFiltering'] as const) {
      if (limits[key] !== 'allow') continue
      const message = `${key} is allowed where no Guardrail denies it, and a deny wins, so this can never do anything`
      this.#fault(document, ['spec', key], message)
    }
    if (limits.nowInSeconds === 'allow' && mode === 'observe') {
      const message = 'an allow cannot be observed, so it can never do anything here'
      this.#fault(document, ['spec', 'nowInSeconds'], message)
    }
    if (limits.allowedClasses !== undefined) this.#checkClasses(document, limits.allowedClasses)
    this.#guards.push({
      name,
      observe: mode === 'observe',
      targets: keyspaces === undefined && tables === undefined ? everything : this.#targets(document, spec),
      pageSizeMax: limits.pageSizeMax,
      inValuesMax: limits.inValuesMax,
      partitionsPerBatchMax: limits.partitionsPerBatchMax,
      limitMax: limits.limitMax,
      scansDenied: limits.scans === 'deny',
      filteringDenied: limits.allowFiltering === 'deny',
      futureMaxMs: milliseconds(limits.timestampFutureMax),
      pastMaxMs: milliseconds(limits.timestampPastMax),
      nowInSeconds: limits.nowInSeconds,
      allowedClasses: limits.allowedClasses ?? [],
    })
  }

  #checkClasses(document: ParsedDocument<GuardrailSpec>, classes: readonly string[]): void {
    if (document.spec.mode === 'observe') {
      const message = 'an allow cannot be observed, so it can never do anything here'
      this.#fault(document, ['spec', 'allowedClasses'], message)
    }
    for (const [index, name] of classes.entries()) {
      if (!ownClasses.has(name)) continue
      const message = 'a class of Cassandra’s own is allowed already, so it can never do anything here'
      this.#fault(document, ['spec', 'allowedClasses', index], message)
    }
  }

  /** What the policy is about: the targets of its class, or its own names. */
  #targets(document: ParsedDocument, { dataClass, keyspaces, tables, columns }: Named): Target[] {
    if (dataClass !== undefined) {
      for (const [key, list] of Object.entries({ keyspaces, tables, columns })) {
        if (list === undefined) continue
        this.#fault(document, ['spec', key], `"${key}" beside "dataClass": the class says what the policy is about`)
      }
      return this.#targetsOfClass(document, dataClass)
    }
    if (keyspaces === undefined) {
      if (tables !== undefined)
        this.#fault(document, ['spec', 'tables'], '"tables" without "keyspaces" can never match')
      else if (columns !== undefined) {
        this.#fault(document, ['spec', 'columns'], '"columns" without "keyspaces" can never match')
      } else this.#fault(document, ['spec'], 'the policy is about nothing; add dataClass or keyspaces')
      return []
    }
    for (const [index, keyspace] of keyspaces.entries()) {
      this.#checkKeyspace(document, ['spec', 'keyspaces', index], keyspace)
    }
    return [{ keyspaces, tables, columns }]
  }

  #targetsOfClass(document: ParsedDocument, name: string): Target[] {
    this.#classesUsed.add(name)
    const found = this.#classes.get(name)
    if (found === undefined) {
      this.#fault(document, ['spec', 'dataClass'], unknownWord('DataClass', name, this.#classes.keys()))
      return []
    }
    const { columns = [], tables = [] } = found.spec
    return [
      ...columns.map((one) => ({ keyspaces: [one.keyspace], tables: [one.table], columns: one.columns })),
      ...tables.map((one) => ({ keyspaces: [one.keyspace], tables: [one.table], columns: undefined })),
    ]
  }

  #checkSubjects(document: ParsedDocument, key: 'subjects' | 'exceptSubjects', list: readonly Subject[] = []): void {
    checkSubjects(list, this.#providers, (at, message) => this.#fault(document, ['spec', key, ...at], message))
  }

  #checkKeyspace(document: ParsedDocument, path: DocumentPath, pattern: string): void {
    if (!pattern.endsWith('*') || !isSystemKeyspace(pattern.slice(0, -1))) return
    const message = `${JSON.stringify(pattern)} can never match: a wildcard never includes system keyspaces; name each`
    this.#fault(document, path, message)
  }
}

const guardrailLimits = [
  'pageSizeMax',
  'inValuesMax',
  'partitionsPerBatchMax',
  'limitMax',
  'scans',
  'allowFiltering',
  'timestampFutureMax',
  'timestampPastMax',
  'nowInSeconds',
  'allowedClasses',
] as const satisfies readonly (keyof GuardrailSpec)[]

function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.round(seconds * 1000)
}
