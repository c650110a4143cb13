/** Kind `CedarPolicy`: each policy of its text becomes a rule of its own. */
import type { DocumentPath, ParsedDocument } from '../../base/document.ts'
import { type Elsewhere, parseCedar } from '../cedar/raw.ts'
import type { CedarRule } from '../policy.ts'
import type { CedarPolicySpec } from './kinds.ts'

/** Policies in all CedarPolicy documents together; each costs time in every evaluation. */
const cedarPoliciesMax = 500

type Fault = (document: ParsedDocument, path: DocumentPath, message: string) => void

/**
 * @param firstIndex place of the first among all rules
 * @returns the rules, and the `@id`s that verdicts will say
 */
export function compileCedarPolicies(
  documents: readonly ParsedDocument<CedarPolicySpec>[],
  firstIndex: number,
  elsewhere: Elsewhere,
  fault: Fault,
): { rules: CedarRule[]; ids: { id: string; document: ParsedDocument }[] } {
  const rules: CedarRule[] = []
  const ids: { id: string; document: ParsedDocument }[] = []
  for (const document of documents) {
    const { policies, faults } = parseCedar(document.spec.cedar, elsewhere)
    for (const { line, column, message } of faults) {
      fault(document, ['spec', 'cedar'], `line ${line}, column ${column} of the text: ${message}`)
    }
    for (const { id, ...parsed } of policies) {
      if (id !== undefined && !/^[A-Za-z0-9_][A-Za-z0-9._-]{0,252}$/.test(id)) {
        const message = `@id(${JSON.stringify(id.slice(0, 64))}) is no name: 1 to 253 letters, digits, ".", "_" or "-"`
        fault(document, ['spec', 'cedar'], message)
      }
      if (id !== undefined) ids.push({ id, document })
      const label = `CedarPolicy ${document.name}${id === undefined ? '' : `, policy ${id}`}`
      rules.push({
        ...parsed,
        index: firstIndex + rules.length,
        name: id ?? document.name,
        label,
        mode: document.spec.mode,
      })
    }
    if (rules.length > cedarPoliciesMax) {
      fault(
        document,
        ['spec', 'cedar'],
        `more than ${cedarPoliciesMax} policies in Cedar; write the simple ones as AccessPolicy`,
      )
      break
    }
  }
  return { rules, ids }
}
