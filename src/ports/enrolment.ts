import type { NodeName, Timestamp } from '../model/ids.ts';

/** How new nodes get their certificates, from a node that holds the cluster's authority. @throws AdminError, StoreError */
export interface Enrolment {
  /** The authority's certificate, PEM: no secret. */
  authority(): Promise<{ cluster: string; certificate: string; fingerprint: string }>;
  /** Lets one node in, once, until it ends. Bound to a name, it may also stand for a node that is there already. */
  issueToken(options: { ttlSeconds: number; node: NodeName | null }): Promise<IssuedToken>;
  /** Uses the token up, then signs. */
  enrol(request: EnrolmentRequest): Promise<EnrolledNode>;
}

export interface IssuedToken {
  token: string;
  node: NodeName | null;
  endsAt: Timestamp;
  /** Of the authority's certificate. */
  fingerprint: string;
}

export interface EnrolmentRequest {
  token: string;
  node: NodeName;
  /** Host names and IP addresses that the others will reach it by. */
  addresses: string[];
  /** PKCS #10, PEM. */
  request: string;
}

/** PEM texts, and what the node's configuration needs. */
export interface EnrolledNode {
  cluster: string;
  certificate: string;
  authority: string;
  etcd: {
    endpoints: string[];
    /** Who signs etcd's certificates; null = it is asked without TLS, on loopback. */
    authority: string | null;
    /** Whether it asks for a user name and password, which nobody passes on. */
    asksForPassword: boolean;
  };
}
