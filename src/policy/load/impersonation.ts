/** Kind `Impersonation`: which workloads may say by a bare name on whose behalf they ask, and of whom. It permits no statement. */
import { z } from 'zod'
import type { DocumentPath, ParsedDocument } from '../../base/document.ts'
import type { ImpersonationRule } from '../policy.ts'
import { checkSubjects, type Providers, subjectFault, subjects } from './subjects.ts'

export const impersonationKind = 'Impersonation'

const impersonation = z.strictObject({
  subjects,
  impersonate: z
    .array(z.strictObject({ person: z.string() }))
    .min(1, 'the list is empty, so the rule can never do anything'),
})

export type ImpersonationSpec = z.infer<typeof impersonation>

/** By kind, for `parseDocuments`. */
export const impersonationSchemas: ReadonlyMap<string, z.ZodType<ImpersonationSpec>> = new Map([
  [impersonationKind, impersonation],
])

type Fault = (document: ParsedDocument, path: DocumentPath, message: string) => void

export function compileImpersonations(
  documents: readonly ParsedDocument<ImpersonationSpec>[],
  providers: Providers,
  fault: Fault,
): ImpersonationRule[] {
  return documents.map((document) => {
    const { name, spec } = document
    checkSubjects(spec.subjects, providers, (at, message) => fault(document, ['spec', 'subjects', ...at], message))
    for (const [index, { person, group, spiffeId }] of spec.subjects.entries()) {
      const at = ['spec', 'subjects', index]
      if (person !== undefined)
        fault(document, [...at, 'person'], 'only a workload acts on behalf of others, and this is a person')
      if (group !== undefined)
        fault(document, [...at, 'group'], 'only a workload acts on behalf of others, and a group has people')
      if (spiffeId !== undefined && /^spiffe:\/\/[^/]+\/user\//.test(spiffeId))
        fault(document, [...at, 'spiffeId'], 'only a workload acts on behalf of others, and this is a person')
    }
    for (const [index, { person }] of spec.impersonate.entries()) {
      const wrong = subjectFault('person', person, providers)
      if (wrong !== undefined) fault(document, ['spec', 'impersonate', index, 'person'], wrong)
    }
    return { name, subjects: spec.subjects, persons: spec.impersonate.map(({ person }) => person) }
  })
}
