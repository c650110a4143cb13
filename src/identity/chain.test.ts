import 'reflect-metadata'
import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import {
  BasicConstraintsExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { RingfenceError } from '../base/errors.ts'
import { keyIdOf, verifyChain } from './chain.ts'

const ecdsa = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const nowMs = Date.UTC(2026, 0, 15, 12)
const hourMs = 3_600_000

interface Made {
  readonly certificate: X509Certificate
  readonly keys: { readonly publicKey: CryptoKey; readonly privateKey: CryptoKey }
}

interface Shape {
  readonly isAuthority?: boolean
  readonly notBeforeMs?: number
  readonly notAfterMs?: number
  /** Instead of the issuer's. */
  readonly signedBy?: Made
}

let serial = 0

/** Without `issuer` it is a root. */
async function make(name: string, issuer: Made | undefined, shape: Shape = {}): Promise<Made> {
  const { isAuthority = true, notBeforeMs = nowMs - hourMs, notAfterMs = nowMs + hourMs } = shape
  const keys = await crypto.subtle.generateKey(ecdsa, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.create({
    serialNumber: `40${String(serial++).padStart(6, '0')}`,
    subject: `CN=${name}`,
    issuer: issuer?.certificate.subject ?? `CN=${name}`,
    notBefore: new Date(notBeforeMs),
    notAfter: new Date(notAfterMs),
    publicKey: keys.publicKey,
    signingKey: (shape.signedBy ?? issuer)?.keys.privateKey ?? keys.privateKey,
    signingAlgorithm: ecdsa,
    extensions: [
      new BasicConstraintsExtension(isAuthority, undefined, true),
      new SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://demo.local/${name}` }]),
    ],
  })
  return { certificate, keys }
}

const leafOf = (issuer: Made | undefined, shape: Shape = {}): Promise<Made> =>
  make('leaf', issuer, { isAuthority: false, ...shape })
const der = ({ certificate }: Made): Buffer => Buffer.from(certificate.rawData)
const bundleOf = (...roots: readonly Made[]): string =>
  roots.map(({ certificate }) => certificate.toString('pem')).join('\n')

let root: Made
let issuing: Made

function verify(leaf: Made, intermediates: readonly Made[], bundle = bundleOf(root)): void {
  verifyChain(der(leaf), intermediates.map(der), bundle, nowMs)
}

function refused(wording: RegExp, leaf: Made, intermediates: readonly Made[], bundle?: string): void {
  assert.throws(
    () => verify(leaf, intermediates, bundle),
    (error: unknown) => error instanceof RingfenceError && error.code === 'IDENTITY' && wording.test(error.message),
  )
}

/** `count` authorities, each of the one before it. */
async function line(count: number): Promise<Made[]> {
  const made: Made[] = []
  for (let index = 0; index < count; index++) made.push(await make(`level${index}`, made.at(-1) ?? root))
  return made
}

describe('a chain', () => {
  before(async () => {
    root = await make('root', undefined)
    issuing = await make('issuing', root)
  })

  it('leads to a root, by intermediates in whatever order, and may have none', async () => {
    verify(await leafOf(issuing), [issuing])
    verify(await leafOf(root), [])
    const levels = await line(4)
    verify(await leafOf(levels.at(-1)), levels)
    verify(await leafOf(levels.at(-1)), levels.toReversed())
    const another = await make('another', undefined)
    verify(await leafOf(issuing), [issuing], bundleOf(another, root))
  })

  it('gives who signed, up to the root, each with the identifier that what it signed names', async () => {
    const [leaf, other] = [await leafOf(issuing), await make('another', undefined)]
    const issuers = verifyChain(der(leaf), [der(issuing)], bundleOf(other, root), nowMs)
    const names = [issuing, root].map(({ certificate }) => certificate.subject)
    assert.deepEqual(
      issuers.map(({ subject }) => subject.replaceAll('\n', ', ')),
      names,
    )
    for (const [index, made] of [issuing, root].entries()) {
      const sha1 = Buffer.from(await made.certificate.publicKey.getKeyIdentifier()).toString('hex')
      assert.equal(keyIdOf(issuers[index]!), sha1)
    }
  })

  it('D2: is refused beyond four intermediates, as one that is ten deep', async () => {
    for (const count of [5, 10]) {
      const levels = await line(count)
      refused(/more than 4 intermediate/, await leafOf(levels.at(-1)), levels)
    }
  })

  it('D2: is refused where it does not lead to a root of ours', async () => {
    const strange = await make('root', undefined)
    refused(/does not lead/, await leafOf(undefined), [])
    refused(/does not lead/, await leafOf(strange), [])
    refused(/does not lead/, await leafOf(issuing), [])
    refused(/does not lead/, await leafOf(strange), [strange])
    // By the name of ours, and by another key.
    refused(/does not lead/, await leafOf(issuing, { signedBy: strange }), [issuing])
    refused(/does not lead/, await leafOf(issuing), [issuing], bundleOf(strange))
    refused(/does not lead/, await leafOf(root), [], '')
  })

  it('D2: has no leaf that signs another', async () => {
    const workload = await make('workload', issuing, { isAuthority: false })
    refused(/does not lead/, await leafOf(workload), [workload, issuing])
  })

  it('D2: is refused where one of its certificates is over, or has not begun', async () => {
    const over = { notAfterMs: nowMs - 1000 }
    const early = { notBeforeMs: nowMs + 1000 }
    for (const shape of [over, early]) {
      refused(/expired or not valid yet/, await leafOf(issuing, shape), [issuing])
      const one = await make('late', root, shape)
      refused(/expired or not valid yet/, await leafOf(one), [one])
      const old = await make('old', undefined, shape)
      refused(/does not lead/, await leafOf(old), [], bundleOf(old))
    }
  })
})
