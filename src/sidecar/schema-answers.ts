/**
 * Answers about the schema for those who may not see all of it: what is asked by SELECT (`catalog/`) and by DESCRIBE (`describe/`).
 *
 * Rule: a SELECT over rows in memory is a tenth of the program, so it is loaded with the first client, and not in the midst of a request.
 */
import { createRequire } from 'node:module'
import type { Permit } from '../policy/engine.ts'
import type { QuestionHost, SchemaQuestions } from './catalog/questions.ts'
import type { DescriptionHost, Descriptions } from './describe/descriptions.ts'
import type { Judged } from './judged.ts'

const load = createRequire(import.meta.url)

/** A question about the schema, which is answered here for whoever may not see everything. */
export function isSchemaQuestion({ facts }: Judged, permit: Permit): boolean {
  return permit.obligations?.visibleOnly === true && facts.verb === 'SELECT'
}

/** Answered here, where the permit shows only what is visible. PREPARE goes to the node, which says nothing of the schema to it. */
export function isDescription({ facts }: Judged, permit: Permit): boolean {
  return permit.obligations?.visibleOnly === true && facts.verb.startsWith('DESCRIBE')
}

export class SchemaAnswers {
  readonly #host: QuestionHost & DescriptionHost
  #made: { readonly questions: SchemaQuestions; readonly descriptions: Descriptions } | undefined

  constructor(host: QuestionHost & DescriptionHost) {
    this.#host = host
  }

  get questions(): SchemaQuestions {
    return this.wake().questions
  }

  get descriptions(): Descriptions {
    return this.wake().descriptions
  }

  /** The first client is here. Cheap when called again. */
  wake(): { readonly questions: SchemaQuestions; readonly descriptions: Descriptions } {
    if (this.#made !== undefined) return this.#made
    const catalog = load('./catalog/questions.ts') as typeof import('./catalog/questions.ts')
    const describe = load('./describe/descriptions.ts') as typeof import('./describe/descriptions.ts')
    this.#made = {
      questions: new catalog.SchemaQuestions(this.#host),
      descriptions: new describe.Descriptions(this.#host),
    }
    return this.#made
  }
}
