/**
 * The only caller of Cedar's WebAssembly. Policies are parsed once into sets; a question is asked of one set. About 0.1 ms a question and
 * 6 µs for each policy in the set, so no question is asked on the fast path (`answers.ts` remembers).
 *
 * Rule: whatever goes wrong inside is an answer `failed`, which refuses. A trap leaves the module's memory in disorder (measured: a stack
 * that ran over made later, harmless calls fail), so the module is thrown away and loaded anew.
 */
import { createRequire } from 'node:module'
import type { CedarValueJson } from '@cedar-policy/cedar-wasm/nodejs'
import * as loaded from '@cedar-policy/cedar-wasm/nodejs'
import { createWeighedCache } from '../../base/cache.ts'
import type { CedarQuestion } from './entities.ts'

export type Cedar = typeof loaded

const packageName = '@cedar-policy/cedar-wasm/nodejs'
let current: Cedar = loaded

/**
 * Runs something on Cedar. @throws what it throws, after the module was loaded anew
 */
export function onCedar<T>(run: (cedar: Cedar) => T): T {
  try {
    return run(current)
  } catch (reason) {
    resident = createResident()
    freeSlots.length = 0
    slots = 0
    const load = createRequire(import.meta.url)
    delete load.cache[load.resolve(packageName)]
    current = load(packageName) as Cedar
    throw reason
  }
}

export interface CedarAnswer {
  /** A policy could not be evaluated, or Cedar itself failed. */
  readonly failed: boolean
  readonly allowed: boolean
  /** Ids of the policies that decided: the forbids that matched, else the permits that did. */
  readonly reasons: readonly string[]
}

const failure: CedarAnswer = { failed: true, allowed: false, reasons: [] }

/** Policies that Cedar keeps parsed, of all sets together. About 50 KB of memory each, which WebAssembly never gives back. */
const policiesResidentMax = 2_000

/** A set that Cedar has parsed, and the slot by whose name it keeps it. */
interface Resident {
  readonly policies: number
  slot: number | undefined
}

/** By the name of the set. One that is larger than all may be takes the place of all others. */
let resident = createResident()
const freeSlots: number[] = []
let slots = 0
let sets = 0

function createResident() {
  return createWeighedCache<Resident>(
    policiesResidentMax,
    ({ policies }) => Math.min(policies, policiesResidentMax),
    ({ slot }) => {
      if (slot === undefined) return
      freeSlots.push(slot)
      current.preparsePolicySet(slotName(slot), { staticPolicies: {} })
    },
  )
}

/** Some policies. They are parsed when first asked, and again after they were evicted. */
export class CedarSet {
  readonly #policies: ReadonlyMap<string, string>
  readonly #name = `${++sets}`

  /** Text by id. */
  constructor(policies: ReadonlyMap<string, string>) {
    this.#policies = policies
  }

  get size(): number {
    return this.#policies.size
  }

  ask(question: CedarQuestion, context: Record<string, CedarValueJson>): CedarAnswer {
    if (this.#policies.size === 0) return { failed: false, allowed: false, reasons: [] }
    try {
      return onCedar((cedar) => this.#ask(cedar, question, context))
    } catch {
      return failure
    }
  }

  #ask(cedar: Cedar, question: CedarQuestion, context: Record<string, CedarValueJson>): CedarAnswer {
    const slot = this.#residentSlot(cedar)
    if (slot === undefined) return failure
    // The schema is left out: with it a question takes longer, and policies were held against it when they were loaded.
    const answer = cedar.statefulIsAuthorized({
      ...question,
      context,
      preparsedPolicySetId: slotName(slot),
      validateRequest: false,
    })
    if (answer.type === 'failure') return failure
    const { decision, diagnostics } = answer.response
    return { failed: diagnostics.errors.length > 0, allowed: decision === 'allow', reasons: diagnostics.reason }
  }

  #residentSlot(cedar: Cedar): number | undefined {
    const held = resident.get(this.#name)
    if (held?.slot !== undefined) return held.slot
    // Evicts others first, so that their slots are free.
    const entry: Resident = { policies: this.size, slot: undefined }
    resident.set(this.#name, entry)
    const slot = freeSlots.pop() ?? slots++
    const parsed = cedar.preparsePolicySet(slotName(slot), { staticPolicies: Object.fromEntries(this.#policies) })
    if (parsed.type === 'failure') {
      resident.delete(this.#name)
      freeSlots.push(slot)
      return undefined
    }
    entry.slot = slot
    return slot
  }
}

function slotName(slot: number): string {
  return `ringfence-${slot}`
}

/** Asks something simple once: the first question in a process takes 20 to 30 ms, which nobody's request should wait for. */
export function warmUpCedar(): void {
  const all = new CedarSet(new Map([['0', 'permit (principal, action, resource);']]))
  const nobody = { type: 'Workload', id: 'nobody' }
  const action = { type: 'Action', id: 'SELECT' }
  all.ask({ principal: nobody, action, resource: { type: 'Cluster', id: 'cluster' }, entities: [] }, {})
}
