/**
 * Has the answers to what drivers ask of `system.local`, `system.peers` and `system.peers_v2`, from the virtual topology,
 * so that no client that came through NGINX learns a node's address.
 *
 * Rule: it answers nobody. A question goes to a sidecar with its answer, where it is judged and recorded like everything else.
 */
import { overloaded, Verdict } from '../base/bytes-budget.ts'
import { contained, type Owner, settle } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { errorEnvelope } from '../cql/encode.ts'
import { copyOf } from '../cql/envelope.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { headerStream, Opcode } from '../cql/protocol.ts'
import { Unsupported } from '../cql/query/unsupported.ts'
import { ExecuteView, PrepareView, QueryView, readExecute, readPrepare, readQuery } from '../cql/requests.ts'
import type { Client } from '../session/backend.ts'
import { cqlFault } from '../session/fault.ts'
import { heldObjectBytes } from '../session/held.ts'
import type { LoopShare } from '../session/loop-share.ts'
import type { GatewayList } from './gateway-list.ts'
import type { MeshLinks } from './links.ts'
import type { Passing } from './passing.ts'
import { executeAt } from './routing/routing-key.ts'
import { type Asked, answerQuestion, askedOf, preparedQuestion } from './topology/answer.ts'
import type { SystemTable } from './topology/columns.ts'
import type { TopologyModel, VirtualHost } from './topology/model.ts'
import { virtualHosts } from './topology/model.ts'
import { aboutTopology, type Question, readQuestion, readsColumns } from './topology/question.ts'

/** The nodes' schema versions are asked again, first after the least and each time after twice as long, this long, until they agree. */
const agreementPollMsMin = 25
const agreementPollMsMax = 200
const agreementMsMax = 5000
const linkMsMax = 5000
const preparedMax = 1000
const idBytes = 16

/** Who asks, and how: a client's session. Asked about each of its requests, so it is no object of its own. */
export interface Asking {
  readonly client: Client
  readonly version: ProtocolVersion
  /** In force, now. */
  readonly keyspace: string
  /** It is told of the host that it dialled, and of no other. */
  readonly oneHost: boolean
  /** Of the loop, for reading and answering. */
  readonly share: LoopShare
  /** Takes the request, a copy, and the envelope that answers it, to a sidecar. */
  readonly give: (request: Buffer, answer: Buffer) => void
}

/** It is read anew for each EXECUTE: a tree weighs many times what its text does, and drivers ask now and then. */
interface PreparedText {
  readonly id: Buffer
  readonly text: string
  readonly table: SystemTable
}

const query = new QueryView()
const prepare = new PrepareView()
const execute = new ExecuteView()

export class TopologyAnswers {
  readonly #links: MeshLinks
  readonly #gateways: GatewayList
  /** By the first four bytes of the id. */
  readonly #prepared = new Map<number, PreparedText>()

  constructor(links: MeshLinks, gateways: GatewayList) {
    this.#links = links
    this.#gateways = gateways
  }

  /**
   * Resolves when the nodes agree on the schema, or have not for as long as drivers would wait, or none can be asked. A driver that knows one
   * host waits for no agreement after a schema change, and its next request may go to another node.
   */
  async schemaAgreed(): Promise<void> {
    if (this.#links.usable.length > 1) await this.#schemaVersion().catch(() => {})
  }

  /** The client registered for events, of which those about hosts come from here. */
  register(client: Client, version: ProtocolVersion, types: readonly string[]): void {
    this.#gateways.register(client, version, types)
  }

  forget(client: Client): void {
    this.#gateways.forget(client)
  }

  /** True when the request is about the topology: it is given with its answer, now or soon. Throws what `readQuery` and its like throw. */
  request(asking: Asking, request: Passing): boolean {
    try {
      switch (request.opcode) {
        case Opcode.EXECUTE:
          return this.#prepared.size > 0 && this.#execute(asking, request)
        case Opcode.QUERY:
          return this.#query(asking, request)
        case Opcode.PREPARE:
          return this.#prepare(asking, request)
        default:
          return false
      }
    } catch (reason) {
      // What the executor does not do goes on: the sidecar lets the node answer where no address can be in it, and refuses the rest.
      if (reason instanceof Unsupported) return false
      if (!(reason instanceof RingfenceError) || (reason.code !== 'INVALID' && reason.code !== 'SYNTAX')) throw reason
      // About the topology, and wrong: whoever may ask at all is told so.
      asking.give(copyOf(request), faultEnvelope(reason, asking.version, request.stream))
      return true
    }
  }

  #query(asking: Asking, request: Passing): boolean {
    const { version, keyspace: inForce } = asking
    readQuery(query, request, version)
    const { text, params } = query
    const table = aboutTopology(text, params.keyspace ?? inForce)
    if (table === undefined) return false
    this.#read(asking, text, table, (question) => {
      this.#answer(asking, question, askedOf(question, params), copyOf(request))
    })
    return true
  }

  #prepare(asking: Asking, request: Passing): boolean {
    const { version, keyspace: inForce } = asking
    readPrepare(prepare, request, version)
    const { text } = prepare
    const table = aboutTopology(text, prepare.keyspace ?? inForce)
    if (table === undefined) return false
    this.#read(asking, text, table, (question) => {
      const { id, envelope } = preparedQuestion(question, text, version, request.stream)
      // No LRU: each session has one of these, mostly empty; a driver prepares such a statement again.
      if (this.#prepared.size >= preparedMax) this.#prepared.clear()
      this.#prepared.set(id.readInt32LE(0), { id, text, table })
      asking.give(copyOf(request), envelope)
    })
    return true
  }

  #execute(asking: Asking, request: Passing): boolean {
    const { version } = asking
    const { bytes } = request
    const idAt = executeAt(request) + 2
    if (idAt + idBytes > request.end || !this.#prepared.has(bytes.readInt32LE(idAt))) return false
    readExecute(execute, request, version)
    if (execute.idEnd - execute.idStart !== idBytes) return false
    const known = this.#prepared.get(bytes.readInt32LE(execute.idStart))
    if (known === undefined || known.id.compare(bytes, execute.idStart, execute.idEnd) !== 0) return false
    this.#read(asking, known.text, known.table, (question) => {
      this.#answer(asking, question, askedOf(question, execute.params), copyOf(request))
    })
    return true
  }

  /** What this costs is the client's: answers wait where it has had its share. */
  #read({ share }: Asking, text: string, table: SystemTable, then: (question: Question) => void): void {
    const counted = share.begin()
    try {
      then(readQuestion(text, table, Date.now))
    } catch (reason) {
      // How many peers the nodes have is none of the client's business either.
      if (reason instanceof Unsupported && (table !== 'local' || readsColumns(text, table))) {
        throw new RingfenceError('INVALID', reason.message)
      }
      throw reason
    } finally {
      if (counted) share.end()
    }
  }

  #answer(asking: Asking, question: Question, asked: Asked, request: Buffer): void {
    const { client, version, give, share, oneHost } = asking
    const { account } = client
    const bytes = request.length + heldObjectBytes
    if (account.take(bytes) === Verdict.REFUSE) throw overloaded()
    const stream = headerStream(request, 0)
    const owner: Owner = { onFault: () => client.close('internal error in the mesh') }
    const answer = (model: TopologyModel): void => {
      if (!share.begin()) {
        share.later(contained(owner, 'an answer about the topology', () => answer(model)))
        return
      }
      account.give(bytes)
      let envelope: Buffer
      try {
        const self = selfOf(model.hosts, client)
        const shown = oneHost ? { ...model, hosts: [self] } : model
        envelope = answerQuestion(question, asked, shown, self, version, stream)
      } catch (reason) {
        envelope = faultEnvelope(reason, version, stream)
      } finally {
        share.end()
      }
      give(request, envelope)
    }
    settle(owner, 'an answer about the topology', this.#model(), answer, (reason) => {
      account.give(bytes)
      // No sidecar can be asked, so there is none to judge it either.
      client.fault(reason, stream)
    })
  }

  async #model(): Promise<TopologyModel> {
    const sidecar = await this.#links.chooseWithin(linkMsMax)
    const hello = sidecar?.link?.hello
    if (hello === undefined) {
      throw new RingfenceError('UNAVAILABLE', 'no node of the cluster is reachable')
    }
    const { clusterName, dataCenter, rack, partitioner, releaseVersion } = hello
    for (const { endpoint, hello: said } of this.#links.usable) {
      if (said !== undefined) this.#gateways.localities.reported(endpoint.spiffeId, said)
    }
    return {
      clusterName,
      partitioner,
      releaseVersion,
      cqlVersion: '3.4.7',
      nativeProtocolVersion: '5',
      schemaVersion: await this.#schemaVersion(),
      hosts: virtualHosts(this.#gateways.hosts, { dataCenter, rack, clusterName }),
    }
  }

  /**
   * The schema version that the nodes agree on. A client sees fewer hosts than there are nodes, so it cannot see a disagreement:
   * the answer waits for the nodes instead, up to what drivers wait themselves.
   */
  async #schemaVersion(): Promise<string> {
    const until = performance.now() + agreementMsMax
    for (let pauseMs = agreementPollMsMin; ; pauseMs = Math.min(2 * pauseMs, agreementPollMsMax)) {
      const answers = await Promise.all(this.#links.usable.map((link) => link.questions.schemaVersion()))
      const versions = new Set(answers.filter((version) => version !== undefined))
      const [version] = versions
      if (version !== undefined && (versions.size === 1 || performance.now() >= until)) return version
      if (performance.now() >= until) throw new RingfenceError('UNAVAILABLE', 'no node tells its schema version')
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }
}

/** The virtual host that the client dialled; the first where it dialled none of them. */
function selfOf(hosts: readonly VirtualHost[], client: Client): VirtualHost {
  const { dialledAddress, dialledPort } = client.info
  const dialled = hosts.find((host) => host.address === dialledAddress && host.port === dialledPort)
  const self = dialled ?? hosts[0]
  if (self === undefined) throw new RingfenceError('UNAVAILABLE', 'the gateway advertises no address')
  return self
}

function faultEnvelope(reason: unknown, version: ProtocolVersion, stream: number): Buffer {
  const { code, message } = cqlFault(reason)
  return errorEnvelope(version, stream, code, message)
}
