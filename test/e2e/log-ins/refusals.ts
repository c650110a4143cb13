/**
 * The table of refusals: for each proof, what is changed in it and what the mesh has to say. Where a proof has nothing that could be changed so,
 * the table says why.
 */
import { createPublicKey, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { limits } from '../../../src/base/limits.ts'
import { presignedPrefix } from '../../../src/identity/aws/presigned.ts'
import { makeKey, part, signed, signedBySecret } from '../../../src/identity/jwt/tokens.fixture.ts'
import { type RefusalCause, refusalClasses } from '../../../src/identity/refusal.ts'
import type { Outside } from './outside.ts'
import { type ProofName, type Proofs, type Shown, seconds, type TokenProof } from './proofs.ts'

export const refusalNames = [
  'expired',
  'not yet valid',
  'wrong audience',
  'wrong issuer',
  'none',
  'HS256 by the public key',
  'unknown key',
  'replayed',
  'oversized',
  'revoked',
] as const
export type RefusalName = (typeof refusalNames)[number]

/** Logs in by it from another address than the one that tries it later; throws where it is refused. */
export type UseBefore = (shown: Shown) => Promise<void>

export interface Fault {
  /** What is changed, for who reads the table. */
  readonly what: string
  make(use: UseBefore): Promise<Shown>
  /** As `ringfence identity why` has it; undefined where it is refused before anybody looks at it. */
  readonly cause: RefusalCause | undefined
  /** What a client hears whose driver comes back by itself. */
  readonly hears: RegExp
  /** It was good until that happened. */
  readonly after?: 'the policy changed' | 'it was thrown out'
}

/** Why there is no such thing. */
export interface Impossible {
  readonly impossible: string
}

export type Refusals = Readonly<Record<RefusalName, Fault | Impossible>>

/** One text for all causes that stay. */
export const notAccepted = /^0x0100 these credentials are not accepted here$/
const unread = limits.authMessageBytesMax + 1

function fault(what: string, cause: RefusalCause, make: Fault['make'], hears: RegExp = notAccepted): Fault {
  if (refusalClasses[cause] === 'permanent' && cause !== 'certificate' && hears !== notAccepted)
    throw new Error(`${what}: a cause that stays is told by one text`)
  return { what, cause, make, hears }
}

/** What the table makes its evidence by. */
type Makers = Pick<Proofs, 'tokens' | 'presign' | 'certificate' | 'svid'>

/** The same, whose tokens are about others, who never came in: each hears what a person hears at a first log-in. */
export function asStrangers(proofs: Proofs, name: string): Makers {
  const tokens = proofs.tokens.map((proof): TokenProof => {
    const holder = proof.stranger(name)
    return {
      ...proof,
      claims: (change) => proof.claims({ ...holder, ...change }),
      forge: (change, header) => proof.forge({ ...holder, ...change }, header),
    }
  })
  return {
    tokens,
    svid: proofs.svid,
    presign: (how) => proofs.presign(how),
    certificate: (shape, authorityDir) => proofs.certificate(shape, authorityDir),
  }
}

export function refusalsOf(proofs: Makers, outside: Outside): Readonly<Record<ProofName, Refusals>> {
  const [oidc, aws, kubernetes] = proofs.tokens as readonly [TokenProof, TokenProof, TokenProof]
  return {
    SVID: ofCertificates(proofs, outside),
    OIDC: ofTokens(oidc, 'group'),
    'AWS JWT': ofTokens(aws, 'account'),
    'pre-signed STS': ofPresigned(proofs),
    'Kubernetes token': ofTokens(kubernetes, 'account'),
  }
}

const password = (text: string): Shown => ({ user: 'token', password: text })

/** Signed by the issuer's own key wherever the fault is another one. */
function ofTokens(proof: TokenProof, revoked: RefusalCause): Refusals {
  const { key, claims, forge } = proof
  const forged =
    (change: () => object): Fault['make'] =>
    async () =>
      password(await forge(change()))
  return {
    expired: fault(
      'its end was a second ago',
      'expired',
      forged(() => ({ exp: seconds() - 1 })),
      /^0x0100 the token expired at .*; get a new one$/,
    ),
    'not yet valid': fault(
      'it begins in ten minutes',
      'not-yet-valid',
      forged(() => ({ nbf: seconds() + 600 })),
      /^0x0100 the token is not valid before .*; is a clock wrong$/,
    ),
    'wrong audience': fault(
      'it is for another service',
      'audience',
      forged(() => ({ aud: ['another'] })),
    ),
    'wrong issuer': fault('its issuer has a slash more', 'issuer', async () =>
      password(await forge({ iss: `${((await claims({})) as { iss: string }).iss}/` })),
    ),
    none: fault('its algorithm is none, and it has no signature', 'algorithm', async () =>
      password(`${part({ alg: 'none', kid: key.kid, typ: 'JWT' })}.${part(await claims({ jti: randomUUID() }))}.`),
    ),
    'HS256 by the public key': fault('the public key is taken for a shared secret', 'algorithm', async () =>
      password(
        signedBySecret(publicPem(proof), await claims({ jti: randomUUID() }), {
          alg: 'HS256',
          kid: key.kid,
          typ: 'JWT',
        }),
      ),
    ),
    'unknown key': fault('it is by a key that the issuer does not publish', 'unknown-key', async () =>
      password(signed(makeKey('unknown', key.algorithm), await claims({ jti: randomUUID() }))),
    ),
    replayed: fault(
      'it was used while it was good, and is shown again after its end',
      'expired',
      async (use) => {
        const { shown, endsMs } = await usedInTime(proof, use)
        await sleep(Math.max(0, endsMs + 200 - Date.now()))
        return shown
      },
      /^0x0100 the token expired at /,
    ),
    oversized: {
      what: 'it is longer than an AUTH_RESPONSE may be',
      cause: undefined,
      make: async () => password(await forge({ padding: 'x'.repeat(unread) })),
      hears: /^0x2200 body of /,
    },
    revoked: { ...revokedBy(revoked), make: () => proof.make() },
  }
}

/** Of a busy machine's time the first may not be enough. */
async function usedInTime({ forge }: TokenProof, use: UseBefore): Promise<{ shown: Shown; endsMs: number }> {
  for (const life of [4, 16, 64]) {
    const exp = seconds() + life
    const shown = password(await forge({ exp }))
    try {
      await use(shown)
      return { shown, endsMs: exp * 1000 }
    } catch (reason) {
      if (Date.now() < exp * 1000) throw reason
    }
  }
  throw new Error('no log-in within 64 s')
}

function ofPresigned(proofs: Makers): Refusals {
  return {
    expired: fault(
      'it was signed 15 minutes ago',
      'expired',
      () => proofs.presign({ ageMs: 15 * 60_000 }),
      /^0x0100 the pre-signed request is older than 15 minutes/,
    ),
    'not yet valid': fault(
      'it is of a later time',
      'not-yet-valid',
      () => proofs.presign({ ageMs: -600_000 }),
      /^0x0100 the pre-signed request is of a later time/,
    ),
    'wrong audience': fault('it is signed for another mesh', 'signature', () =>
      proofs.presign({ server: 'other.example.com' }),
    ),
    'wrong issuer': fault('it is for STS of another partition', 'issuer', () =>
      proofs.presign({ region: 'cn-north-1' }),
    ),
    none: fault('it has no signature', 'malformed', async () =>
      changed(await proofs.presign({}), (url) => url.replace(/&X-Amz-Signature=[0-9a-f]+/, '')),
    ),
    'HS256 by the public key': fault(
      'the access key id, which is no secret, is taken for the secret',
      'signature',
      () => proofs.presign({ secret: 'the access key id' }),
    ),
    'unknown key': fault('AWS does not know its access key', 'signature', () => proofs.presign({ isKnown: false })),
    replayed: fault(
      'another address used it first',
      'replayed',
      async (use) => {
        const shown = await proofs.presign({})
        // Each process remembers what it has seen; so it is used until all have.
        for (let times = 0; times < 16; times++) await use(shown)
        return shown
      },
      /^0x0100 the pre-signed request was used from another address before/,
    ),
    oversized: fault('it is longer than AWS makes them', 'too-long', () =>
      proofs.presign({ sessionToken: 'x'.repeat(limits.presignedBytesMax) }),
    ),
    revoked: { ...revokedBy('account'), make: () => proofs.presign({}) },
  }
}

function ofCertificates(proofs: Makers, { foreignDirs }: Outside): Refusals {
  const bad = (what: string, make: () => Promise<Shown>, hears: RegExp): Fault =>
    fault(what, 'certificate', make, hears)
  const unknownAuthority = /^0x0000 the client's certificate is of an authority that is not known here$/
  return {
    expired: bad(
      'its end was a second ago',
      () => proofs.certificate({ beginsMs: -120_000, endsMs: -1_000 }),
      /^0x0000 the client's certificate has expired$/,
    ),
    'not yet valid': bad(
      'it begins in ten minutes',
      () => proofs.certificate({ beginsMs: 600_000 }),
      /^0x0000 the client's certificate is not valid yet, or a clock is wrong$/,
    ),
    'wrong audience': bad(
      'it is for servers only',
      () => proofs.certificate({ usages: ['server'] }),
      /^0x0000 the client's certificate is not good$/,
    ),
    'wrong issuer': bad(
      'it is by the authority of another trust domain',
      () => proofs.certificate({}, foreignDirs.otherName),
      unknownAuthority,
    ),
    none: bad(
      'it is signed by its own key, and by no authority',
      () => proofs.certificate({ isSelfSigned: true }),
      unknownAuthority,
    ),
    'HS256 by the public key': { impossible: 'a certificate names no shared secret; its signature is asymmetric' },
    'unknown key': bad(
      'it is by an authority that has the name of ours',
      () => proofs.certificate({}, foreignDirs.sameName),
      unknownAuthority,
    ),
    replayed: { impossible: 'the key signs each handshake anew, so that what was sent before proves nothing' },
    oversized: {
      what: 'its chain has more than 100 KiB',
      cause: undefined,
      make: () => proofs.certificate({ repeats: 300 }),
      hears: /^closed/,
    },
    // It names no group or account; its own serial number is taken back.
    revoked: {
      what: 'its serial number is revoked',
      cause: 'revoked',
      make: () => proofs.svid.make(),
      hears: /^0x0000 access was revoked$/,
      after: 'it was thrown out',
    },
  }
}

function revokedBy(cause: RefusalCause): Omit<Fault, 'make'> {
  const what = cause === 'group' ? 'none of its groups may log in any longer' : `its ${cause} may log in no longer`
  return { what, cause, hears: notAccepted, after: 'the policy changed' }
}

function publicPem({ key }: TokenProof): string {
  return createPublicKey(key.privateKey).export({ format: 'pem', type: 'spki' }).toString()
}

function changed(shown: Shown, change: (url: string) => string): Shown {
  const { password: before } = shown
  const url = Buffer.from(before.slice(presignedPrefix.length), 'base64url').toString()
  return { ...shown, password: presignedPrefix + Buffer.from(change(url)).toString('base64url') }
}
