/**
 * Amazon Resource Names of principals, in one form each: `arn:<partition>:iam::<account>:role/<name>`.
 *
 * A session of a role (`assumed-role/<role>/<session>`) is its role; the name of the session is whatever who assumed it wrote. The path of a
 * role or user (`role/team/etl`) is left out: STS does not tell it of a session, and a name is there once in an account, whatever its path.
 */
import { parseSpiffeId, type SpiffeId, segmentOf } from '../spiffe.ts'

export const awsPartitions = ['aws', 'aws-cn', 'aws-us-gov'] as const

export type AwsPartition = (typeof awsPartitions)[number]

export interface AwsPrincipal {
  readonly partition: AwsPartition
  readonly account: string
  readonly kind: 'role' | 'user'
  readonly name: string
  /** The one form. */
  readonly arn: string
}

const arnPattern = /^arn:(aws|aws-cn|aws-us-gov):(iam|sts)::([0-9]{12}):([\x21-\x7e]{1,900})$/
/** IAM: letters, digits and these, at most 64. */
const namePattern = /^[A-Za-z0-9_+=,.@-]{1,64}$/
const pathPattern = /^[\x21-\x2e\x30-\x7e]{1,512}$/

/** Undefined for what is neither a role, a session of one, nor a user: nobody logs in as the root of an account, or as a federated user. */
export function awsPrincipalOf(arn: string): AwsPrincipal | undefined {
  const [, partition, service, account = '', resource = ''] = arnPattern.exec(arn) ?? []
  const [type, ...parts] = resource.split('/')
  if (type === 'assumed-role') {
    const [role, session = '', ...more] = parts
    return service === 'sts' && namePattern.test(session) && more.length === 0 ? principal('role', role) : undefined
  }
  if (service !== 'iam' || (type !== 'role' && type !== 'user')) return undefined
  return parts.slice(0, -1).every((part) => pathPattern.test(part)) ? principal(type, parts.at(-1)) : undefined

  function principal(kind: 'role' | 'user', name = ''): AwsPrincipal | undefined {
    if (!namePattern.test(name)) return undefined
    return {
      partition: partition as AwsPartition,
      account,
      kind,
      name,
      arn: `arn:${partition}:iam::${account}:${kind}/${name}`,
    }
  }
}

/** `spiffe://<trust domain>/aws/<account>/role/<name>`; where it is not of the partition `aws`, `/aws-cn/…`. */
export function awsSubject({ partition, account, kind, name }: AwsPrincipal, trustDomain: string): SpiffeId {
  return parseSpiffeId(`spiffe://${trustDomain}/${partition}/${account}/${kind}/${segmentOf(name)}`)
}
