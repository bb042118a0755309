"""List products by name, which may stand in lower case or begin a sentence and are names all the same."""

from __future__ import annotations

from pytest_modelgate.detectors.vocabulary import vocabulary

TECHNOLOGIES = vocabulary(
    """
    activemq aerospike airflow akamai alertmanager ansible apache apisix argocd artemis artifactory auth0
    autoscaler aws azure bacula bigquery bitbucket cassandra ceph certbot chrony clickhouse cloudflare cloudfront
    cloudwatch cockroachdb confluence consul containerd coredns couchbase couchdb crowdstrike cyberark databricks
    datadog dbt debezium django docker dovecot drbd druid dynamodb dynatrace ebs ec2 ecs eks elasticache
    elasticsearch elb envoy etcd exim fargate fastly firebase flink fluentbit fluentd flyway foundationdb freeipa
    freeradius github gitlab gke gluster glusterfs grafana graphite graylog gunicorn hadoop haproxy hashicorp
    hazelcast hbase hdfs heroku hypervisor ibmmq icinga iis influx influxdb informatica ingress istio jaeger java
    jboss jenkins jira jvm k3s k8s kafka keepalived kerberos keycloak kibana kinesis knative kubelet kubernetes
    kustomize kvm ldap linkerd linux liquibase logstash loki magento mariadb matomo mattermost memcache memcached
    mesos metabase mimir minio mongo mongodb mosquitto mssql mulesoft mysql nagios nats neo4j netapp netscaler
    netty newrelic nfs nginx node.js nodejs ntp ntpd okta opensearch openshift openssl openstack openvpn oracle
    pagerduty patroni percona pgbouncer pgpool php postfix postgres postgresql prometheus proxysql pulsar pyspark
    python qemu rabbitmq rails rds redis redpanda redshift route53 s3 salesforce samba sap scylla scylladb selinux
    sendgrid sendmail sentry servicenow shopify sidekiq singlestore skywalking slurm snowflake sns solr sonarqube
    spinnaker splunk sqlite sqlserver sqs stunnel superset supervisord systemd tableau tarantool telegraf teradata
    terraform thanos tibco timescale timescaledb tomcat traefik trino twilio uwsgi varnish vault vertica
    victoriametrics vitess vmware vsphere waf wazuh weblogic websphere wildfly wordpress xen zabbix zendesk zipkin
    zookeeper zuul
    """
)
"""Databases, brokers, proxies, clouds and other products that systems are built from."""
