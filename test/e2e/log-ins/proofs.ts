/** The table of proofs: what each is, who it makes of its holder, and how it is made where a company's own provider makes it. */
import { createHash, randomUUID, X509Certificate } from 'node:crypto'
import { decodeJwt } from 'jose'
import { presignedPassword } from '../../../src/cli/aws-token.ts'
import { knownBy } from '../../../src/identity/aws/presigned.ts'
import { signed, type TestKey } from '../../../src/identity/jwt/tokens.fixture.ts'
import { type CertificateShape, type MadeCertificate, makeCertificate } from './certificates.ts'
import { account, issuers, marker, type Outside, people, serverId, stsRegion } from './outside.ts'

export const proofNames = ['SVID', 'OIDC', 'AWS JWT', 'pre-signed STS', 'Kubernetes token'] as const
export type ProofName = (typeof proofNames)[number]

/** What a client shows: a certificate, or what its driver takes for a user name and a password. */
export interface Shown {
  readonly user: string
  readonly password: string
  readonly certificate?: MadeCertificate
  /** A transaction token: beside a password it is the authorization id, and beside a certificate it comes with each request. */
  readonly behalf?: string
}

/** A transaction token for a workload, on behalf of whoever is usual among people. */
export type OnBehalf = (workload: string) => Promise<string>

/** Whom the record has to name. */
export interface Known {
  readonly workload: string
  readonly person?: string
  /** The way in, as the record has it. */
  readonly authentication: string
  /** The person stands behind each of its own requests, and not behind the session. */
  readonly isByRequest?: true
}

export interface Proof extends Known {
  readonly name: ProofName
  /** Good, and nobody else's. */
  make(): Promise<Shown>
}

export interface TokenProof extends Proof {
  /** Its issuer's. */
  readonly key: TestKey
  /** Such a token with other claims or another header. */
  forge(change: object, header?: object): Promise<string>
  claims(change: object): Promise<object>
  /** Claims of another holder, who never came in. */
  stranger(name: string): object
}

export interface Presigning {
  readonly server?: string
  readonly region?: string
  readonly ageMs?: number
  readonly secret?: 'own' | 'the access key id'
  /** STS knows whose access key it is. */
  readonly isKnown?: false
  readonly sessionToken?: string
}

const role = `spiffe://demo.local/aws/${account}/role/${marker}`
const ofAccount = (name: string): object => ({
  sub: `system:serviceaccount:shop:${name}`,
  'kubernetes.io': { namespace: 'shop', serviceaccount: { name, uid: randomUUID() } },
})
const passwordOf = (password: string): Shown => ({ user: 'token', password })
export const seconds = (): number => Math.floor(Date.now() / 1000)

export class Proofs {
  readonly #outside: Outside
  /** Of the mesh's own authority. */
  readonly #authorityDir: string
  readonly #onBehalf: OnBehalf
  #presigning: Promise<unknown> = Promise.resolve()
  #accessKeys = 0

  constructor(outside: Outside, authorityDir: string, onBehalf: OnBehalf) {
    this.#outside = outside
    this.#onBehalf = onBehalf
    this.#authorityDir = authorityDir
  }

  get all(): readonly Proof[] {
    return [this.svid, this.oidc, this.aws, this.presigned, this.kubernetes]
  }

  get tokens(): readonly TokenProof[] {
    return [this.oidc, this.aws, this.kubernetes]
  }

  readonly svid: Proof = {
    name: 'SVID',
    workload: `spiffe://demo.local/svc/${marker}`,
    authentication: 'certificate',
    make: () => this.certificate({}),
  }

  get oidc(): TokenProof {
    return {
      ...this.#tokens('OIDC', this.#outside.keys.oidc, async () => decodeJwt(await this.#ofProvider(people.usual))),
      ...{ workload: `spiffe://demo.local/user/corp/${people.usual}`, person: `corp/${people.usual}` },
      authentication: 'oidc',
      stranger: (one) => ({ sub: `${people.stranger}-${one}` }),
      make: async () => passwordOf(await this.#ofProvider(people.usual)),
    }
  }

  /** By the same provider, with 32 KiB. */
  get large(): Known & { make(): Promise<Shown> } {
    return {
      ...{ workload: `spiffe://demo.local/user/corp/${people.large}`, person: `corp/${people.large}` },
      authentication: 'oidc',
      make: async () => passwordOf(await this.#ofProvider(people.large)),
    }
  }

  get aws(): TokenProof {
    const claims = async (): Promise<object> => ({
      ...this.#usual(),
      iss: issuers.aws,
      sub: `arn:aws:iam::${account}:role/team/${marker}`,
      'https://sts.amazonaws.com/': { aws_account: account, source_region: stsRegion },
    })
    return {
      ...this.#tokens('AWS JWT', this.#outside.keys.aws, claims),
      ...{ workload: role, authentication: 'aws' },
      stranger: (one) => ({ sub: `arn:aws:iam::${account}:role/team/${people.stranger}-${one}` }),
    }
  }

  readonly presigned: Proof = {
    name: 'pre-signed STS',
    workload: role,
    authentication: 'aws-sts',
    make: () => this.presign({}),
  }

  get kubernetes(): TokenProof {
    const claims = async (): Promise<object> => ({
      ...this.#usual(),
      iss: issuers.kubernetes,
      ...ofAccount(marker),
    })
    return {
      ...this.#tokens('Kubernetes token', this.#outside.keys.kubernetes, claims),
      ...{ workload: `spiffe://demo.local/ns/shop/sa/${marker}`, authentication: 'kubernetes' },
      stranger: (one) => ofAccount(`${people.stranger}-${one}`),
    }
  }

  /** A workload whose whole session is on behalf of a person. */
  get behalf(): Known & { make(): Promise<Shown> } {
    const { workload, authentication, make } = this.kubernetes
    return {
      workload,
      ...{ person: `corp/${people.usual}`, authentication: `${authentication}+txn-token` },
      make: async () => ({ ...(await make()), behalf: await this.#onBehalf(workload) }),
    }
  }

  /** A workload each of whose requests is on behalf of a person. */
  get eachOnBehalf(): Known & { make(): Promise<Shown> } {
    const { workload, make } = this.svid
    return {
      workload,
      ...{ person: `corp/${people.usual}`, authentication: 'certificate+txn-token', isByRequest: true },
      make: async () => ({ ...(await make()), behalf: await this.#onBehalf(workload) }),
    }
  }

  /** With the transaction token of another workload. */
  async stolenBehalf(): Promise<Shown> {
    return { ...(await this.aws.make()), behalf: await this.#onBehalf(this.kubernetes.workload) }
  }

  async certificate(shape: Partial<CertificateShape>, authorityDir = this.#authorityDir): Promise<Shown> {
    const certificate = await makeCertificate(authorityDir, { spiffeId: this.svid.workload, ...shape })
    return { user: '', password: '', certificate }
  }

  /** As `ringfence aws-token --server` does it, with credentials of a session of the role. */
  presign(how: Presigning): Promise<Shown> {
    // AWS's library takes credentials from the environment, which is one for all.
    const made = this.#presigning.then(() => this.#presign(how))
    this.#presigning = made.catch(() => {})
    return made
  }

  async #presign({ server = serverId, region = stsRegion, ageMs = 0, ...how }: Presigning): Promise<Shown> {
    const accessKeyId = `ASIA${String(this.#accessKeys++).padStart(16, '0')}`
    const { sessionToken = 'IQoJb3JpZ2lu//token+==' } = how
    const secretAccessKey = 'secret/with+signs'
    const arn = `arn:aws:sts::${account}:assumed-role/${marker}/i-0123456789abcdef0`
    if (how.isKnown !== false)
      this.#outside.sts.keys.set(accessKeyId, { accessKeyId, secretAccessKey, sessionToken, account, arn })
    process.env.AWS_ACCESS_KEY_ID = accessKeyId
    process.env.AWS_SECRET_ACCESS_KEY = how.secret === 'the access key id' ? accessKeyId : secretAccessKey
    process.env.AWS_SESSION_TOKEN = sessionToken
    const { password } = await presignedPassword(server, region, Date.now() - ageMs)
    return { user: 'aws', password }
  }

  #ofProvider(client: string): Promise<string> {
    return this.#outside.provider.token(client)
  }

  #usual(): object {
    return { aud: ['ringfence'], iat: seconds() - 5, exp: seconds() + 900, jti: randomUUID() }
  }

  #tokens(name: ProofName, key: TestKey, usual: () => Promise<object>) {
    const claims = async (change: object): Promise<object> => ({ ...(await usual()), ...change })
    const forge = async (change: object, header: object = {}): Promise<string> =>
      signed(key, { ...(await claims(change)), jti: randomUUID() }, header)
    return { name, key, claims, forge, make: async () => passwordOf(await forge({})) }
  }
}

/** `evidence.hash` of the record; a pre-signed request is known by its signature. */
export function evidenceHash({ password, certificate, behalf }: Shown): string {
  const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')
  if (certificate !== undefined) return sha256(new X509Certificate(certificate.certificatePem).raw)
  const own = sha256(knownBy(password))
  return behalf === undefined ? own : sha256(`${own} ${sha256(behalf)}`)
}
