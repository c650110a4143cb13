/** A refusal as the client hears it, and the rules that are the engine's own. */

export interface Denial {
  readonly kind: 'denial'
  /** `default-deny`, or the name of the policy that denied. */
  readonly rule: string
  /** For the client: the same words whether or not the object exists. One line of printable text. */
  readonly reason: string
  readonly revision: number
  /** It is told as INVALID (0x2200): what is asked for exists for nobody. */
  readonly invalid?: true
}

export const defaultDenyRule = 'default-deny'
/** A statement that touches nothing: an empty BATCH. */
export const nothingTouchedRule = 'nothing-touched'
/** A question about names, whose answer is cut down to what the principal may see. */
export const visibleObjectsRule = 'visible-objects'
/** A rule could not be evaluated. */
export const policyErrorRule = 'policy-error'
/** The statement needs more different verdicts than are made for one. */
export const tooManyObjectsRule = 'too-many-objects'

export function denialBy(rule: string, text: string, revision: number): Denial {
  return { kind: 'denial', rule, reason: `${text} (rule ${rule}, policy revision ${revision})`, revision }
}
