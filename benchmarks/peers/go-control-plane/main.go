// A control plane on the go-control-plane module, for the workload `one-change`: the same clusters and endpoints, changed by a
// line on its standard input instead of a request, which nothing is stored for. `--cache`: snapshot or linear.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// everyone puts all nodes into one group.
type everyone struct{}

func (everyone) ID(*corev3.Node) string { return "everyone" }

func cluster(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ConnectTimeout:       durationpb.New(5_000_000_000),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: &corev3.ConfigSource{
			ResourceApiVersion:    corev3.ApiVersion_V3,
			ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		}},
	}
}

func assignment(name, host string, weight uint32) *endpointv3.ClusterLoadAssignment {
	address := &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 9},
	}}}
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: name,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			LoadBalancingWeight: wrapperspb.UInt32(weight),
			HostIdentifier:      &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address}},
		}}}},
	}
}

// catalogue is what is served. change replaces one assignment.
type catalogue interface {
	cache() cache.Cache
	change(name string, resource types.Resource) error
}

type snapshots struct {
	kept                cache.SnapshotCache
	clusters, endpoints []types.Resource
	places              map[string]int
	version             int
}

func (s *snapshots) cache() cache.Cache { return s.kept }

func (s *snapshots) set() error {
	s.version++
	snapshot, err := cache.NewSnapshot(strconv.Itoa(s.version), map[resource.Type][]types.Resource{
		resource.ClusterType:  s.clusters,
		resource.EndpointType: s.endpoints,
	})
	if err != nil {
		return err
	}
	return s.kept.SetSnapshot(context.Background(), "everyone", snapshot)
}

func (s *snapshots) change(name string, changed types.Resource) error {
	s.endpoints[s.places[name]] = changed
	return s.set()
}

type linear struct {
	mux       *cache.MuxCache
	endpoints *cache.LinearCache
}

func (l *linear) cache() cache.Cache { return l.mux }

func (l *linear) change(name string, changed types.Resource) error {
	return l.endpoints.UpdateResource(name, changed)
}

func build(kind string, names, hosts []string) (catalogue, error) {
	clusters, endpoints := map[string]types.Resource{}, map[string]types.Resource{}
	all := &snapshots{kept: cache.NewSnapshotCache(true, everyone{}, nil), places: map[string]int{}}
	for at, name := range names {
		clusters[name], endpoints[name] = cluster(name), assignment(name, hosts[at], 1)
		all.clusters, all.endpoints = append(all.clusters, clusters[name]), append(all.endpoints, endpoints[name])
		all.places[name] = at
	}
	if kind == "snapshot" {
		return all, all.set()
	}
	ofClusters := cache.NewLinearCache(resource.ClusterType, cache.WithInitialResources(clusters))
	ofEndpoints := cache.NewLinearCache(resource.EndpointType, cache.WithInitialResources(endpoints))
	mux := &cache.MuxCache{
		Classify:      func(request *cache.Request) string { return request.GetTypeUrl() },
		ClassifyDelta: func(request *cache.DeltaRequest) string { return request.GetTypeUrl() },
		Caches:        map[string]cache.Cache{resource.ClusterType: ofClusters, resource.EndpointType: ofEndpoints},
	}
	return &linear{mux, ofEndpoints}, nil
}

func main() {
	kind := flag.String("cache", "snapshot", "snapshot or linear")
	flag.Parse()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	if !lines.Scan() {
		log.Fatal("the first line is NAME=HOST of each upstream, separated by spaces")
	}
	var names, hosts []string
	for _, each := range strings.Fields(lines.Text()) {
		name, host, _ := strings.Cut(each, "=")
		names, hosts = append(names, name), append(hosts, host)
	}
	served, err := build(*kind, names, hosts)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	grpcServer := grpc.NewServer()
	xds := server.NewServer(context.Background(), served.cache(), nil)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(grpcServer, xds)
	go func() { log.Fatal(grpcServer.Serve(listener)) }()
	fmt.Println(listener.Addr())
	for lines.Scan() { // NAME HOST WEIGHT
		fields := strings.Fields(lines.Text())
		weight, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			log.Fatal(err)
		}
		if err := served.change(fields[0], assignment(fields[0], fields[1], uint32(weight))); err != nil {
			log.Fatal(err)
		}
	}
}
