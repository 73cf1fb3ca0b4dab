package gatewayapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// podPorts are the ports of the suite's containers, by the environment variables that change them.
var podPorts = map[string]int{"HTTP_PORT": 3000, "H2C_PORT": 3001}

// notStarted are variables of containers that no HTTPRoute or GRPCRoute uses.
var notStarted = []string{"TCP_ECHO_SERVER", "UDP_ECHO_SERVER", "TLS_SERVER_CERT"}

// pods stands in for the controllers of Deployments and for the kubelet: each replica is a process
// of the suite's own server, on an address of the pod network.
type pods struct {
	program string
	mutex   sync.Mutex
	running map[string]*pod
	server  *httptest.Server
}

// pod is a running replica.
type pod struct {
	command *exec.Cmd
	mutex   sync.Mutex
	log     []logLine
}

type logLine struct {
	at   time.Time
	text string
}

func newPods(program string) *pods {
	own := &pods{program: program, running: map[string]*pod{}}
	// The suite reads logs with client-go.
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{name}/log", own.serveLog)
	own.server = httptest.NewServer(mux)
	return own
}

// clientset returns a client for the logs of pods only.
func (own *pods) clientset() (kubernetes.Interface, error) {
	return kubernetes.NewForConfig(&rest.Config{Host: own.server.URL})
}

// stop ends all processes.
func (own *pods) stop() {
	own.server.Close()
	own.mutex.Lock()
	defer own.mutex.Unlock()
	for _, pod := range own.running {
		_ = pod.command.Process.Kill()
		_ = pod.command.Wait()
	}
}

// start starts the replicas of the Deployments that do not run yet, and adds their Pods.
func (own *pods) start(ctx context.Context, store client.Client) error {
	var deployments appsv1.DeploymentList
	if err := store.List(ctx, &deployments); err != nil {
		return err
	}
	for _, deployment := range deployments.Items {
		if !isEcho(deployment.Spec.Template.Spec) {
			continue
		}
		replicas := int32(1)
		if deployment.Spec.Replicas != nil {
			replicas = *deployment.Spec.Replicas
		}
		for index := range replicas {
			// As a ReplicaSet names them: the suite removes two parts of the name.
			name := fmt.Sprintf("%s-replicaset-%d", deployment.Name, index)
			if err := own.startPod(ctx, store, &deployment, name); err != nil {
				return fmt.Errorf("pod %s: %w", name, err)
			}
		}
	}
	return nil
}

// isEcho returns whether the pods have the suite's server for HTTP or gRPC without TLS.
func isEcho(spec corev1.PodSpec) bool {
	for _, container := range spec.Containers {
		if !strings.Contains(container.Image, "/echo-basic:") {
			return false
		}
		for _, variable := range container.Env {
			for _, name := range notStarted {
				if variable.Name == name {
					return false
				}
			}
		}
	}
	return true
}

func (own *pods) startPod(
	ctx context.Context, store client.Client, deployment *appsv1.Deployment, name string,
) error {
	own.mutex.Lock()
	defer own.mutex.Unlock()
	key := deployment.Namespace + "/" + name
	if own.running[key] != nil {
		return nil
	}
	number := len(own.running) + 1
	address := fmt.Sprintf("10.244.0.%d", number)
	command := exec.Command(own.program)
	command.Env = append(os.Environ(), "NAMESPACE="+deployment.Namespace, "POD_NAME="+name)
	for _, container := range deployment.Spec.Template.Spec.Containers {
		for _, variable := range container.Env {
			if variable.Value != "" {
				command.Env = append(command.Env, variable.Name+"="+variable.Value)
			}
		}
	}
	// The server listens on all addresses, so that each process needs ports of its own. The ports
	// of the pod's address lead to them.
	ports := map[string]int{"HTTP_PORT": 20000 + number, "H2C_PORT": 21000 + number}
	for variable, port := range ports {
		command.Env = append(command.Env, fmt.Sprintf("%s=%d", variable, port))
		if err := redirect(address, podPorts[variable], port); err != nil {
			return err
		}
	}
	pod, err := startProcess(command)
	if err != nil {
		return err
	}
	own.running[key] = pod
	if err := waitForPort(address, ports["HTTP_PORT"]); err != nil {
		return err
	}
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: deployment.Namespace, UID: types.UID(key),
			Labels: deployment.Spec.Template.Labels,
		},
		Spec: deployment.Spec.Template.Spec,
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: address, PodIPs: []corev1.PodIP{{IP: address}},
			Conditions: []corev1.PodCondition{{
				Type: corev1.PodReady, Status: corev1.ConditionTrue,
			}},
		},
	}
	return store.Create(ctx, object)
}

// redirect sends connections to a port of a pod to the port on which its process listens.
func redirect(address string, from, to int) error {
	arguments := []string{
		"-t", "nat", "-A", "OUTPUT", "-d", address, "-p", "tcp", "--dport", fmt.Sprint(from),
		"-j", "DNAT", "--to-destination", fmt.Sprintf("%s:%d", address, to),
	}
	if output, err := exec.Command("iptables", arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("iptables: %w: %s", err, output)
	}
	return nil
}

func startProcess(command *exec.Cmd) (*pod, error) {
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	command.Stderr = command.Stdout
	command.SysProcAttr = withParent()
	if err := command.Start(); err != nil {
		return nil, err
	}
	own := &pod{command: command}
	go func() {
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			own.mutex.Lock()
			own.log = append(own.log, logLine{time.Now(), lines.Text()})
			own.mutex.Unlock()
		}
	}()
	return own, nil
}

func waitForPort(address string, port int) error {
	var last error
	for range 300 {
		connection, err := net.Dial("tcp", net.JoinHostPort(address, fmt.Sprint(port)))
		if err == nil {
			return connection.Close()
		}
		last = err
		time.Sleep(20 * time.Millisecond)
	}
	return last
}

// serveLog writes the lines of a pod since `sinceTime`.
func (own *pods) serveLog(writer http.ResponseWriter, request *http.Request) {
	own.mutex.Lock()
	pod := own.running[request.PathValue("namespace")+"/"+request.PathValue("name")]
	own.mutex.Unlock()
	if pod == nil {
		http.NotFound(writer, request)
		return
	}
	since, _ := time.Parse(time.RFC3339, request.URL.Query().Get("sinceTime"))
	pod.mutex.Lock()
	defer pod.mutex.Unlock()
	for _, line := range pod.log {
		if !line.at.Before(since) {
			_, _ = io.WriteString(writer, line.text+"\n")
		}
	}
}
