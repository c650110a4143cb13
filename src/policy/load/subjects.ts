/** `subjects` of a rule: their form, and what could never be anybody. */
import { z } from 'zod'
import type { DocumentPath } from '../../base/document.ts'
import { RingfenceError } from '../../base/errors.ts'
import { unknownWord } from '../../base/words.ts'
import type { ProviderDocument } from '../../identity/providers/provider.ts'
import { parseSpiffePattern } from '../../identity/spiffe.ts'
import type { Subject, SubjectKey } from '../subjects.ts'
import { subjectKeys } from '../subjects.ts'

/** A person or group by its name at the identity provider. */
const nameCharsMax = 1024

const subject = z
  .strictObject({
    spiffeId: z.string().optional(),
    person: z.string().optional(),
    group: z.string().optional(),
    role: z.string().optional(),
  })
  .refine((given) => subjectKeys.some((key) => given[key] !== undefined), {
    error: `the subject names nobody; add one of ${subjectKeys.join(', ')}`,
  })

export const subjects = z.array(subject).min(1, 'the list is empty, so the rule can never do anything')

/** The identity providers of a source; undefined where one of its documents could not be read. */
export type Providers = readonly ProviderDocument[] | undefined

/** Tells `fault` of each subject that could never be anybody, with its path below the list. */
export function checkSubjects(
  list: readonly Subject[],
  providers: Providers,
  fault: (path: DocumentPath, message: string) => void,
): void {
  for (const [index, given] of list.entries()) {
    for (const key of subjectKeys) {
      const text = given[key]
      const wrong = text === undefined ? undefined : subjectFault(key, text, providers)
      if (wrong !== undefined) fault([index, key], wrong)
    }
  }
}

/** Why a pattern can never be anybody; undefined where it can. */
export function subjectFault(key: SubjectKey, text: string, providers: Providers): string | undefined {
  switch (key) {
    case 'spiffeId':
      return spiffeFault(text)
    case 'role':
      return roleFault(text, providers)
    default:
      return nameFault(key, text) ?? providerFault(key, text, providers)
  }
}

function spiffeFault(text: string): string | undefined {
  try {
    parseSpiffePattern(text)
    return undefined
  } catch (reason) {
    const { message, hint } = RingfenceError.from(reason, 'CONFIG')
    return hint === undefined ? message : `${message}; write ${hint}`
  }
}

function nameFault(key: 'person' | 'group', text: string): string | undefined {
  const shown = JSON.stringify(text.slice(0, 128))
  const example = key === 'person' ? 'corp/alice' : 'corp/analysts'
  const [provider = '', ...segments] = text.split('/')
  if (text.startsWith('spiffe://')) return `${shown} is a SPIFFE id; write it as spiffeId`
  if (segments.length === 0 || segments.join('/') === '')
    return `${shown} names no ${key} of an identity provider; write ${example}`
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(provider)) {
    return `${JSON.stringify(provider.slice(0, 64))} is no name of an identity provider, which is always literal; write ${example}`
  }
  if (text.length > nameCharsMax || !text.isWellFormed() || /\p{Cc}/u.test(text)) {
    return `${shown} is longer than ${nameCharsMax} characters or has characters that no name has`
  }
  if (segments.some((segment) => segment.includes('*') && segment !== '*')) {
    return `${shown} can never match: "*" stands for one whole segment, at the end for one or more; write ${provider}/*`
  }
  return undefined
}

/** Groups are what providers say. A person may also have a certificate, so where no provider is configured any name will do. */
function providerFault(key: 'person' | 'group', text: string, providers: Providers): string | undefined {
  const provider = text.slice(0, text.indexOf('/'))
  const names = providers?.map(({ name }) => name)
  if (names === undefined || names.includes(provider)) return undefined
  if (names.length > 0) return unknownWord('identity provider', provider, names)
  if (key === 'person') return undefined
  return `unknown identity provider ${JSON.stringify(provider)}: groups come from a document of kind IdentityProvider, and there is none here`
}

const rolePattern = /^arn:(?:aws|aws-cn|aws-us-gov):iam::\d{12}:(?:role|user)\/(?:[A-Za-z0-9_+=,.@-]{1,64}|\*)$/

function roleFault(text: string, providers: Providers): string | undefined {
  const shown = JSON.stringify(text.slice(0, 128))
  const assumed = /^arn:([a-z-]+):sts::(\d{12}):assumed-role\/([^/]+)/.exec(text)
  if (assumed !== null) {
    return `${shown} is one session of a role and can never match; write arn:${assumed[1]}:iam::${assumed[2]}:role/${assumed[3]}`
  }
  const inPath = /^(arn:[a-z-]+:iam::\d{12}:(?:role|user))\/.+\/([^/]+)$/.exec(text)
  if (inPath !== null) {
    return `${shown} can never match: a caller's role is known without its path; write ${inPath[1]}/${inPath[2]}`
  }
  if (!rolePattern.test(text)) {
    return `${shown} is not the ARN of a role; write arn:aws:iam::123456789012:role/etl, where the name may be "*"`
  }
  if (providers === undefined || providers.some(({ spec }) => /^aws(?:-sts)?$/.test(spec.type))) return undefined
  return 'roles come from a document of kind IdentityProvider of type aws or aws-sts, and there is none here'
}
